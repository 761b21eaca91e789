"""What the README names exists, and what exists it names."""

from __future__ import annotations

import re

import pytest

from customers import events as customer_events
from messaging.domain_event import DomainEvent
from orders import events as order_events
from tests.chaos.__main__ import EMULATOR_ENDED
from tests.chaos.scenarios import SCENARIOS
from tests.template import ROOT, resources, sources

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def table_row(first_cell: str) -> list[str]:
    """The cells of the row in the table of services."""
    (row,) = re.findall(rf"^\| {first_cell} \|(.*)\|$", README, re.MULTILINE)
    return [cell.strip() for cell in row.split("|")]


def names(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def published(module: object, base: type[DomainEvent]) -> set[str]:
    classes = {name: value for name, value in vars(module).items() if isinstance(value, type)}
    return {
        name for name, value in classes.items() if issubclass(value, base) and value is not base
    }


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", "docs/runbook.md", "docs/scaling.md"]
)
def test_every_make_target_named_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(re.findall(r"(?:`|\$\(|^    )make ([a-z][a-z-]+)", text, re.MULTILINE))

    assert named
    assert named <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def test_every_file_named_exists() -> None:
    named = re.findall(r"`((?:functions|layers|events|infra|tests|docs)/[\w./-]+\.\w+)`", README)

    assert named
    for path in set(named) - {"layers/common/certificates/global-bundle.pem"}:
        assert (ROOT / path).exists(), path


def test_every_route_is_in_the_table_of_the_api() -> None:
    for properties in resources("AWS::Serverless::Function").values():
        for event in sources(properties, "Api"):
            route = f"{event['Method'].upper()} {event['Path']}"
            assert f"| `{route}" in README, route


def test_each_service_publishes_what_its_column_says() -> None:
    customers, orders, _ = table_row("publishes")

    assert names(customers) == published(customer_events, customer_events.CustomerEvent)
    assert names(orders) == published(order_events, order_events.OrderEvent)


@pytest.mark.parametrize(
    ("column", "rule"), [(0, "CustomersSubscriberRule"), (1, "OrdersSubscriberRule")]
)
def test_each_service_subscribes_to_what_its_column_says(column: int, rule: str) -> None:
    pattern = resources("AWS::Events::Rule")[rule]["EventPattern"]

    assert names(table_row("subscribes to")[column]) == set(pattern["detail-type"])


def test_order_history_subscribes_to_what_its_column_says() -> None:
    pattern = resources("AWS::Events::Rule")["OrderHistoryProjectionRule"]["EventPattern"]
    assert table_row("subscribes to")[2] == "all events of Customers, and all events of Orders"

    assert set(pattern["detail-type"]) == published(
        customer_events, customer_events.CustomerEvent
    ) | published(order_events, order_events.OrderEvent)


def test_every_fault_is_named_by_the_guarantee_that_it_attacks() -> None:
    for fault in (*SCENARIOS, EMULATOR_ENDED):
        assert f"*{fault}*" in README, fault
