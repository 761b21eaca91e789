"""The pages of the services have all that is in the template, the modules and the handlers, each thing in one place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pymongo.collection import Collection

from customers.events import CustomerEvent
from infra import canvas
from infra.canvas import SERVICES, Service
from infra.tour import TITLE
from messaging.domain_event import DomainEvent
from order_history.mongodb import connect
from orders.events import OrderEvent
from tests.template import PRODUCTION, ROOT, resources, sources
from tests.unit.test_monitoring import ALARMS, text

PAGES = {path: path.read_text() for path in canvas.documents()}
DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))
CUSTOMERS, ORDERS, ORDER_HISTORY = SERVICES


def page(service: Service) -> str:
    return PAGES[ROOT / "docs/services" / service.page]


def section(service: Service, title: str) -> str:
    (found,) = re.findall(
        rf"^## {title}\n(.*?)(?=^## |\Z)", page(service), re.MULTILINE | re.DOTALL
    )
    return str(found)


def first_cells(page_text: str) -> list[str]:
    """What is in backticks in the first cell of each row of a table."""
    cells = re.findall(r"^\| (.*?) \|", page_text, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_the_committed_pages_are_the_ones_that_template_and_code_make() -> None:
    for path, generated in canvas.documents().items():
        assert path.read_text() == generated, "the system has changed: run `make docs`"


def test_everything_in_the_template_and_every_alarm_is_on_one_page() -> None:
    cells = [name for text_of_page in PAGES.values() for name in first_cells(text_of_page)]
    queues = PRODUCTION.resources("AWS::SQS::Queue")
    functions = [f["FunctionName"]["Fn::Sub"] for f in PRODUCTION.functions.values()]
    expected = [
        *PRODUCTION.resources("AWS::DynamoDB::Table"),
        *(queue for queue in queues if not queue.endswith("DeadLetterQueue")),
        *(name.removeprefix("${AWS::StackName}-") for name in functions),
        *(text(a["AlarmName"]).removeprefix("customers-and-orders-") for a in ALARMS.values()),
    ]

    assert len(expected) > 40
    # A table whose stream is read is named a second time, by what is done if that fails.
    streams = {
        n for n, t in resources("AWS::DynamoDB::Table").items() if "StreamSpecification" in t
    }
    assert {name: cells.count(name) for name in expected} == {
        name: 2 if name in streams else 1 for name in expected
    }


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.title)
def test_every_dead_letter_queue_of_a_service_is_on_its_page(service: Service) -> None:
    dead_letters = [
        name
        for name in resources("AWS::SQS::Queue")
        if name.endswith("DeadLetterQueue") and canvas.service_of(name) is service
    ]

    assert dead_letters
    assert all(f"| `{name}` | 14 days |" in section(service, "Queues") for name in dead_letters)


def test_every_route_is_a_query_or_asks_for_a_command() -> None:
    for name, function in PRODUCTION.functions.items():
        if service := canvas.service_of(name):
            for route in sources(function, "Api"):
                title = "Queries" if route["Method"] == "get" else "Commands"
                asked = f"`{route['Method'].upper()} {route['Path']}`"
                assert asked in section(service, title), asked


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.title)
def test_every_command_is_asked_for_by_somebody(service: Service) -> None:
    for command in canvas.commands(service):
        assert re.search(rf"^\| `{command}` \| `\w", section(service, "Commands"), re.MULTILINE)


def test_a_command_is_asked_for_by_routes_and_by_events() -> None:
    rejected_by = "`CustomerCreditReservationFailed`, `CustomerValidationFailed`"

    assert f"| `note_credit_not_reserved` | {rejected_by} |" in section(ORDERS, "Commands")
    assert "| `cancel_order` | `POST /orders/{orderId}/cancel` |" in section(ORDERS, "Commands")
    assert "| `release_credit` | `OrderCancelled` |" in section(CUSTOMERS, "Commands")
    assert section(ORDER_HISTORY, "Commands").strip() == "None."


@pytest.mark.parametrize(("service", "base"), [(CUSTOMERS, CustomerEvent), (ORDERS, OrderEvent)])
def test_every_event_is_on_its_publishers_page(service: Service, base: type[DomainEvent]) -> None:
    published = {event.__name__ for event in base.__subclasses__()}

    assert set(first_cells(section(service, "Events published"))) == published


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.title)
def test_a_service_subscribes_to_what_its_rule_lets_pass(service: Service) -> None:
    (rule,) = (
        r for n, r in resources("AWS::Events::Rule").items() if canvas.service_of(n) is service
    )

    subscribed = first_cells(section(service, "Events subscribed to"))
    assert subscribed == rule["EventPattern"]["detail-type"]


def test_every_collection_of_the_view_is_described() -> None:
    view = connect("mongodb://localhost", connect=False)
    collections = [value.name for value in vars(view).values() if isinstance(value, Collection)]

    assert len(collections) >= 2
    assert all(f"`{name}`" in section(ORDER_HISTORY, "Data") for name in collections)


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("OrdersOutbox", ORDERS),
        ("orders-outbox-relay", ORDERS),
        ("OrderHistoryProjectionQueue", ORDER_HISTORY),
        ("order-history-api", ORDER_HISTORY),
        ("Customers", CUSTOMERS),
        ("HealthFunction", None),
    ],
)
def test_a_thing_belongs_to_the_service_that_its_name_begins_with(
    name: str, owner: Service | None
) -> None:
    assert canvas.service_of(name) is owner


def headings(path: Path) -> set[str]:
    """As a link names them. Source: GitHub's rules for the anchors of headings."""
    found = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if not link.startswith("https://"):
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.exists(), link
            if anchor and target.suffix == ".md":
                assert anchor in headings(target), link


def test_the_index_has_every_document() -> None:
    index = ROOT / "docs/README.md"
    others = {p for p in (ROOT / "docs").rglob("*") if p.suffix in {".md", ".json"}} - {index}
    linked = re.findall(r"^- \[.*?\]\((.*?)\): \S", index.read_text(), re.MULTILINE)

    assert {index.parent / link for link in linked} == others
    assert TITLE in (index.parent / "tour.md").read_text()
