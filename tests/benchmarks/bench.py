"""`make bench`: what an order takes on the embedded stack, beside a bare pipeline of the same hops.

Absolute times belong to the machine named in the output; the ratios mean something on any.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from infra.api_client import ApiClient, wait_until
from infra.build import PROJECT
from infra.embedded.stack import EmbeddedStack

console = Console()
BARE_PROJECT = Path(__file__).parent / "bare"
POLL_SECONDS = 0.002


@dataclass
class Result:
    """Seconds of each order, one at a time; and orders per second, several at a time."""

    post: list[float]
    approved: list[float]
    visible: list[float]
    accepted_per_second: float
    decided_per_second: float


@dataclass
class System:
    """What is measured: how to create an order, whether it is approved, and visible as such in the view."""

    create: Callable[[], Any]
    is_approved: Callable[[Any], bool]
    is_visible: Callable[[Any], bool]


def customers_and_orders(api: ApiClient) -> System:
    ids = [api.create_customer(f"Bench {number}", 10**9) for number in range(20)]
    turn = iter(range(10**9))

    def is_visible(order_id: int) -> bool:
        response = api.request("GET", f"/orderhistory/orders/{order_id}")
        return response.status_code == 200 and response.json()["state"] == "APPROVED"

    return System(
        create=lambda: api.create_order(ids[next(turn) % len(ids)], 1),
        is_approved=lambda order_id: api.get_order(order_id)["orderState"] == "APPROVED",
        is_visible=is_visible,
    )


def bare_pipeline(api: ApiClient) -> System:
    def get(path: str) -> Any:
        return api.request("GET", path)

    return System(
        create=lambda: api.request("POST", "/orders", json={}).json()["orderId"],
        is_approved=lambda order_id: get(f"/orders/{order_id}").json()["orderState"] == "APPROVED",
        is_visible=lambda order_id: get(f"/orderhistory/orders/{order_id}").status_code == 200,
    )


def measure(system: System, orders: int, throughput_orders: int, clients: int) -> Result:
    for _ in range(20):  # until every function is warm
        wait_until(_call(system.is_visible, system.create()), bool, 60, POLL_SECONDS)
    post, approved, visible = [], [], []
    for _ in range(orders):
        started = time.perf_counter()
        order_id = system.create()
        post.append(time.perf_counter() - started)
        wait_until(_call(system.is_approved, order_id), bool, 60, POLL_SECONDS)
        approved.append(time.perf_counter() - started)
        wait_until(_call(system.is_visible, order_id), bool, 60, POLL_SECONDS)
        visible.append(time.perf_counter() - started)
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        ids = list(pool.map(lambda _: system.create(), range(throughput_orders)))
    accepted = time.perf_counter() - started
    for order_id in reversed(ids):  # the last is decided last, or nearly so
        wait_until(_call(system.is_approved, order_id), bool, 300, 0.05)
    decided = time.perf_counter() - started
    return Result(post, approved, visible, len(ids) / accepted, len(ids) / decided)


def _call(predicate: Callable[[Any], bool], order_id: Any) -> Callable[[], bool]:
    return lambda: predicate(order_id)


@click.command(help=__doc__)
@click.option("--orders", default=200, show_default=True, help="Measured one at a time.")
@click.option("--throughput-orders", default=1000, show_default=True)
@click.option("--clients", default=8, show_default=True)
def main(orders: int, throughput_orders: int, clients: int) -> None:
    results = {}
    for name, project, system in (
        ("ours", PROJECT, customers_and_orders),
        ("bare", BARE_PROJECT, bare_pipeline),
    ):
        with (
            console.status(f"Starting: {name}") as status,
            TemporaryDirectory() as directory,
            EmbeddedStack.start(project=project, directory=Path(directory) / "stack") as stack,
            ApiClient(stack.base_url) as api,
        ):
            status.update(f"Measuring: {name}")
            results[name] = measure(system(api), orders, throughput_orders, clients)
    console.print(table_of(results["ours"], results["bare"]))
    console.print(machine())


def table_of(ours: Result, bare: Result) -> Table:
    table = Table(title="One order on the embedded stack", title_justify="left")
    for column in ("", "Customers and Orders", "bare pipeline", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    for title, field in (
        ("POST /orders answered", "post"),
        ("POST to APPROVED", "approved"),
        ("POST to APPROVED in the history", "visible"),
    ):
        for label, quantile in (("p50", 50), ("p95", 95)):
            a, b = (percentile(getattr(result, field), quantile) for result in (ours, bare))
            row = (f"{title}, {label}", f"{a * 1000:.1f} ms", f"{b * 1000:.1f} ms", f"{a / b:.2f}")
            table.add_row(*row)
    for title, field in (
        ("orders accepted per second", "accepted_per_second"),
        ("orders decided per second", "decided_per_second"),
    ):
        a, b = getattr(ours, field), getattr(bare, field)
        table.add_row(title, f"{a:.0f}", f"{b:.0f}", f"{a / b:.2f}")
    return table


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def machine() -> str:
    """The machine, as far as the figures depend on it."""
    info = Path("/proc/cpuinfo")
    models = [
        line.split(":")[1].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    model = models[0] if models else platform.processor()
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} CPUs ({model}), {system}"


if __name__ == "__main__":
    main()
