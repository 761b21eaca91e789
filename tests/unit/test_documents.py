"""The documents name files, make targets, events and chaos scenarios that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests.chaos.__main__ import EMULATOR_ENDED
from tests.chaos.scenarios import SCENARIOS
from tests.samples import published_classes
from tests.template import DEVELOPMENT, ROOT, load_template, subscribers

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_links_lead_to_files() -> None:
    for document in DOCUMENTS:
        prose = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", prose):
            assert (document.parent / link).exists(), f"{document}: {link}"


def test_named_files_exist() -> None:
    pattern = r"`((?:functions|layers|events|infra|tests|docs)/[\w./-]+\.\w+)`"
    for document in DOCUMENTS:
        for name in set(re.findall(pattern, document.read_text())):
            is_example = "OrderShipped" in name or "bundle.pem" in name
            assert is_example or (ROOT / name).exists(), f"{document}: {name}"


def test_named_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pattern = r"(?:`|^    )make ([a-z][a-z-]+)"
    for document in DOCUMENTS:
        named = re.findall(pattern, document.read_text(), re.MULTILINE)
        assert targets.issuperset(named), f"{document}: {set(named) - targets}"


def test_readme_is_at_most_150_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_readme_shows_what_the_demo_prints() -> None:
    (shown,) = re.findall(
        r"walks through .*?```\n(.*?)\n", (ROOT / "README.md").read_text(), re.DOTALL
    )

    assert f'_say("{shown}")' in (ROOT / "infra/local/demo.py").read_text()


def test_compared_designs_have_the_figures_of_the_benchmark() -> None:
    tables = json.loads((ROOT / "docs/benchmarks/results.json").read_text())["tables"]
    measured = {table["title"]: table for table in tables}
    page = (ROOT / "docs/choosing.md").read_text()

    def check(row: str, title: str, column: str) -> None:
        table = measured[title]
        index = table["header"].index(column)
        values = {cells[0]: cells[index].strip("*").split(" of ")[0] for cells in table["rows"]}
        (shown,) = re.findall(rf"^\| {row} \| (.*) \|$", page, re.MULTILINE)
        for design, cell in zip(
            ("Customers and Orders", "inbox table", "dual write", "Step Functions (standard)"),
            shown.split(" | "),
            strict=False,
        ):
            assert cell == f"{float(values[design]):.0f}", f"docs/choosing.md: {row}, {design}"

    check("DynamoDB write units per order", "One order, nothing batched", "write units")
    check("calls to AWS per order", "One order, nothing batched", "calls to AWS")
    check("USD per million orders", "USD per million approved orders", "all")
    check("orders lost in 4 kills", "One order, nothing batched", "lost under kills")


def test_guarantees_name_every_chaos_scenario() -> None:
    guarantees = (ROOT / "docs/guarantees.md").read_text()

    assert [name for name in (*SCENARIOS, EMULATOR_ENDED) if f"*{name}*" not in guarantees] == []


def rows_of_services() -> list[list[str]]:
    """Return the cells of each row of the tables in docs/services.md."""
    lines = re.findall(r"^\| (.*) \|$", (ROOT / "docs/services.md").read_text(), re.MULTILINE)
    return [re.split(r" ?\| ?", line) for line in lines]


def row_of_services(name: str) -> list[str]:
    """Return the cells behind the name of the row: one for each service."""
    (cells,) = (cells for first, *cells in rows_of_services() if first == name)
    return cells


def names_in(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


def handled_by_service() -> dict[str, set[str]]:
    """Return the events that a service subscribes to, by its name in docs/services.md."""
    handled: dict[str, set[str]] = {}
    for name, handler in subscribers().items():
        folder = Path(DEVELOPMENT.functions[f"{name}Function"]["CodeUri"]).name
        events = {event.__name__ for event in handler.subscriber._handler.event_classes}
        handled.setdefault(folder.replace("_", " ").capitalize(), set()).update(events)
    return handled


def test_services_page_names_the_published_events() -> None:
    published: dict[str, set[str]] = {"Customer": set(), "Order": set()}
    for event_class in published_classes():
        published[event_class.aggregate_type].add(event_class.__name__)

    of_customers, of_orders, *_ = map(names_in, row_of_services("publishes"))
    message = "docs/services.md, row `publishes`: not as the event classes in events.py"
    assert of_customers == published["Customer"], message
    assert of_orders == published["Order"], message


def test_services_page_names_the_handlers_of_each_event() -> None:
    handled = handled_by_service()
    everything = {event.__name__ for event in published_classes()}
    documented: dict[str, set[str]] = {}
    for events, service, *_ in rows_of_services():
        named = everything if events == "all" else names_in(events)
        documented.setdefault(service, set()).update(named)

    columns = dict(zip(row_of_services(""), row_of_services("subscribes to"), strict=True))
    for service, expected in handled.items():
        advice = f"{service} handles {sorted(expected)}"
        assert documented.get(service) == expected, f"docs/services.md, table `Rules`: {advice}"
        if cell := columns.get(service):
            named = everything if cell == "all events" else names_in(cell)
            assert named == expected, f"docs/services.md, row `subscribes to`: {advice}"


def test_services_page_names_every_function() -> None:
    text = (ROOT / "docs/services.md").read_text().partition("## Functions")[2]
    for entry in load_template()["Mappings"]["Functions"].values():
        assert f"`{entry['Name']}`" in text, (
            f"docs/services.md, table `Functions`: add `{entry['Name']}`"
        )


def test_services_table_names_the_routes_of_the_services() -> None:
    table = (ROOT / "docs/services.md").read_text().partition("## ")[0]
    named = set(re.findall(r"`((?:GET|POST|DELETE) /[^`]*)`", table))
    paths = json.loads((ROOT / "functions/console/static/openapi.json").read_text())["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}

    where = "docs/services.md, rows `commands` and `queries`"
    assert sorted(routes - named - {"GET /health"}) == [], f"{where}: add these"
    assert sorted(named - routes) == [], f"{where}: these do not exist"


def test_asyncapi_document_has_every_event_with_its_schemas() -> None:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docs/asyncapi.yaml").read_text())
    by_source: dict[str, set[str]] = {}
    schemas = {}
    for event_class in published_classes():
        name = event_class.__name__
        by_source.setdefault(event_class.source, set()).add(name)
        older = [f"{name}.{version}.json" for version in range(1, event_class.schema_version())]
        schemas[name] = [f"../events/schemas/{file}" for file in (f"{name}.json", *older)]

    channels = document["channels"].values()
    for channel in channels:
        assert set(channel["messages"]) == by_source[channel["address"]], (
            f"docs/asyncapi.yaml: the messages of channel {channel['address']}"
        )
    messages = document["components"]["messages"]
    assert messages.keys() == schemas.keys(), "docs/asyncapi.yaml: components, messages"
    for name, message in messages.items():
        payload = message["payload"]
        assert [schema["$ref"] for schema in payload.get("oneOf", [payload])] == schemas[name], (
            f"docs/asyncapi.yaml: payload of {name}"
        )


def test_tour_stops_match_one_line_each_and_their_excerpts_are_current() -> None:
    tour = json.loads((ROOT / ".tours/one-order.tour").read_text())
    page = (ROOT / "docs/tour.md").read_text()
    stops = re.split(r"^## \d+\. ", page, flags=re.MULTILINE)[1:]

    assert len(stops) == len(tour["steps"])
    for step, stop in zip(tour["steps"], stops, strict=True):
        source = (ROOT / step["file"]).read_text()
        found = re.findall(step["pattern"], source, re.MULTILINE)
        assert len(found) == 1, f"{step['file']}: {step['pattern']} matches {len(found)} lines"
        excerpt = re.findall(r"```\w+\n(.*?)\n```", stop, re.DOTALL)[0]
        lines = [line.strip() for line in source.splitlines()]
        stale = [line for line in excerpt.splitlines() if line.strip() not in lines]
        assert stale == [], f"docs/tour.md, {step['title']}: these lines are not in {step['file']}"
