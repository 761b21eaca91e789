"""Scenario: subscribers of schema version 1 and of version 2 on the same queues, as during a gradual deployment."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from infra.local.api_client import wait_until
from infra.local.build import PROJECT, zipped
from infra.local.deployed_stack import STACK_NAME, DeployedStack
from tests.chaos.clients import Placed
from tests.chaos.system import VISIBILITY_SECONDS, System
from tests.chaos.verdict import Outcome

SUBSCRIBERS = {"orders-subscriber": "orders", "order-history-projection": "order_history"}
"""The subscribers of events that have a version 2, and their directories in functions/."""
VERSION_1 = """
from customers.events import CustomerValidationFailed
from orders.events import OrderRejected

CustomerValidationFailed.upcasters = OrderRejected.upcasters = ()
from {module} import lambda_handler
"""
"""The shipped handler without its knowledge of version 2: it refuses events of version 2, and publishes version 1."""
UNKNOWN_SHARE = 0.2
"""Share of orders of an unknown customer. Only they lead to CustomerValidationFailed."""


def side_by_side(system: System, orders: int) -> Outcome:
    """Create orders while the subscribers know version 1 only, then while both versions share the queues.

    Customers publishes version 2 all the time. Each event of version 2 waits for a subscriber that knows it.
    """
    for queue in SUBSCRIBERS:
        system.set_redelivery(queue, 1)
    with ExitStack() as contexts:
        refused = {name: contexts.enter_context(_version_1(system, name)) for name in SUBSCRIBERS}
        with ExitStack() as paused:
            for name in SUBSCRIBERS:
                paused.enter_context(system.stopped(name))
            alone = system.place(orders // 2, unknown_share=UNKNOWN_SHARE)
            with suppress(TimeoutError):  # reported below
                wait_until(lambda: [count() for count in refused.values()], all, 60, 0.5)
        both = system.place(orders - orders // 2, unknown_share=UNKNOWN_SHARE)
        system.settle()
        counts = {name: count() for name, count in refused.items()}
    for queue in SUBSCRIBERS:
        system.set_redelivery(queue, VISIBILITY_SECONDS)
    findings = [f"version 1 of {name} refused no event" for name, n in counts.items() if not n]
    placed = Placed(
        alone.limits | both.limits, alone.orders | both.orders, alone.answers + both.answers
    )
    return Outcome(placed, sum(counts.values()), findings)


@contextmanager
def _version_1(system: System, name: str) -> Iterator[Callable[[], int]]:
    """Run a copy of the subscriber that knows version 1 only, on the same queue. Yield a count of refused events."""
    older = f"{STACK_NAME}-{name}-version-1"
    functions: Any = system.functions
    logs = DeployedStack(system.stack.aws_endpoint_url).client("logs")
    log_group = f"/aws/lambda/{older}"
    logs.create_log_group(logGroupName=log_group)
    shipped = functions.get_function_configuration(FunctionName=f"{STACK_NAME}-{name}")
    archive = io.BytesIO(zipped(PROJECT / "functions" / SUBSCRIBERS[name], bytecode=False))
    with zipfile.ZipFile(archive, "a") as code:
        module = shipped["Handler"].partition(".")[0]
        code.writestr("version_1.py", VERSION_1.format(module=module))
    functions.create_function(
        FunctionName=older,
        Handler="version_1.lambda_handler",
        Code={"ZipFile": archive.getvalue()},
        Environment={"Variables": shipped["Environment"]["Variables"]},
        Layers=[layer["Arn"] for layer in shipped["Layers"]],
        **{key: shipped[key] for key in ("Runtime", "Role", "Timeout", "MemorySize")},
    )
    copied = ("EventSourceArn", "BatchSize", "FunctionResponseTypes")
    mapping: Any = system.mapping(name)
    created = functions.create_event_source_mapping(
        FunctionName=older, **{key: mapping[key] for key in copied}
    )

    def refused() -> int:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=log_group)
        return sum("NewerSchemaVersion" in e["message"] for e in pages.search("events[]"))

    try:
        yield refused
    finally:
        functions.delete_event_source_mapping(UUID=created["UUID"])
        functions.delete_function(FunctionName=older)
