"""Runs one function in a process of its own: `invoker.py MODE HANDLER EVENT BARE_HANDLER [ROUNDS]`.

Prints one JSON object as its last line. Imports nothing unneeded before the clock starts.
"""

# ruff: noqa: PLC0415
from __future__ import annotations

import sys
import time
from typing import Any

# A line is written at once, as in Lambda's runtime.
sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
STARTED = time.perf_counter()
MODE, HANDLER, EVENT, BARE_HANDLER, *ROUNDS = sys.argv[1:]
INVOCATIONS_PER_ROUND = 20


class Context:
    function_name = "bench"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:bench"
    aws_request_id = "request"

    @staticmethod
    def get_remaining_time_in_millis() -> Any:
        return 10_000


def milliseconds() -> Any:
    return (time.perf_counter() - STARTED) * 1000


def report(**figures: Any) -> Any:
    import json

    sys.stdout.flush()
    print("\n" + json.dumps(figures), file=sys.__stdout__)


def boto3_alone() -> Any:
    import boto3

    client = boto3.client("dynamodb")
    init = milliseconds()
    client.get_item(TableName="Orders", Key={"orderId": {"N": "1"}})
    report(init_ms=init, first_ms=milliseconds())


def libraries() -> Any:
    """Do what boto3 alone does, and import the libraries that an API is written with."""
    import boto3

    client = boto3.client("dynamodb")
    import pydantic  # noqa: F401
    import pynamodb.connection  # noqa: F401
    from aws_lambda_powertools import Logger, Metrics  # noqa: F401
    from aws_lambda_powertools.event_handler import APIGatewayRestResolver
    from aws_lambda_powertools.event_handler.middlewares import openapi_validation  # noqa: F401

    APIGatewayRestResolver()
    init = milliseconds()
    client.get_item(TableName="Orders", Key={"orderId": {"N": "1"}})
    report(init_ms=init, first_ms=milliseconds())


def handler(name: Any) -> Any:
    import importlib

    module, function = name.rsplit(".", 1)
    return getattr(importlib.import_module(module), function)


def start() -> Any:
    handle = handler(HANDLER)
    init = milliseconds()
    check(handle(events(1)[0], Context()), (200, 404))
    report(init_ms=init, first_ms=milliseconds())


def events(count: Any) -> Any:
    """Return events with one message each, all of other orders and customers: a repeated one is a duplicate."""
    import json
    import random
    import re
    import uuid
    from pathlib import Path

    text = Path(EVENT).read_text()
    made = []
    for _ in range(count):
        shift = random.randrange(10**12)
        ids = {found: str(int(found) + shift) for found in re.findall(r"2379\d{11}", text)}
        found = json.loads(re.sub("|".join(ids) or "$^", ids_of(ids), text))
        if "Records" in found:
            kinds = ("OrderCreated", "CustomerCreditReserved")
            records = [r for r in found["Records"] if any(k in json.dumps(r) for k in kinds)]
            found["Records"] = (records or found["Records"])[:1]
            if "messageId" in found["Records"][0]:
                found["Records"][0]["messageId"] = str(uuid.uuid4())
        made.append(found)
    return made


def ids_of(ids: Any) -> Any:
    return lambda match: ids[match[0]]


def project_order(event: Any) -> Any:
    """Project the order that a request to the history asks for, with our projection."""
    import json
    from pathlib import Path

    parameters = event.get("pathParameters") or {}
    if "orderId" in parameters:
        sample = json.loads(Path(EVENT).read_text())["pathParameters"]["orderId"]
        text = Path(EVENT).with_name("order_history_projection_batch.json").read_text()
        batch = json.loads(text.replace(sample, parameters["orderId"]))
        check(handler("projection.lambda_handler")(batch, Context()))


def check(answer: Any, statuses: Any = (200,)) -> Any:
    """Refuse the answer of a handler that failed, which would look fast."""
    answer = answer or {}
    if answer.get("batchItemFailures") or answer.get("statusCode", 200) not in statuses:
        raise RuntimeError(f"the handler answered {answer}")


def warm() -> Any:
    ours, bare, context = handler(HANDLER), handler(BARE_HANDLER), Context()

    def cpu_ms(invoke: Any) -> Any:
        these = events(INVOCATIONS_PER_ROUND)
        for event in these:
            project_order(event)
        begin = time.thread_time()  # of this thread: the MongoDB driver's monitors are not counted
        for event in these:
            check(invoke(event, context))
        return (time.thread_time() - begin) * 1000 / INVOCATIONS_PER_ROUND

    cpu_ms(ours), cpu_ms(bare)
    found: Any = {"ours_ms": [], "bare_ms": []}
    turns = [("ours_ms", ours), ("bare_ms", bare)]
    for _ in range(int(ROUNDS[0])):
        for name, invoke in turns:
            found[name].append(cpu_ms(invoke))
        turns.reverse()
    report(**found)


{"boto3": boto3_alone, "libraries": libraries, "start": start, "warm": warm}[MODE]()
