"""A page per service, and an index of the documents: `make docs` writes them anew.

The tables come from template.yaml, infra/monitoring.yaml, the services' modules and the handlers; only what no program can
know is written here. What belongs to which service is seen by its name. Source of the form: the microservice
canvas, https://microservices.io/post/microservices/general/2019/02/27/microservice-canvas.html.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]

import customers.events
import customers.service
import order_history.mongodb
import orders.events
import orders.service
from infra.tour import ROOT, write
from messaging.domain_event import DomainEvent
from metrics import NAMESPACE

Properties = dict[str, Any]


@dataclass(frozen=True)
class Service:
    prefix: str
    """Of the names of all that belongs to it."""
    title: str
    description: str
    guarantees: str
    commands: ModuleType | None = None
    events: type[DomainEvent] | None = None
    """The class that all events it publishes have in common."""

    @property
    def page(self) -> str:
        return f"{self.title.lower().replace(' ', '-')}.md"


SERVICES = (
    Service(
        "Customers",
        "Customers",
        "Manages customers and the credit that orders hold. It decides whether there is credit for an order, since it alone sees every"
        " reservation as it is made.",
        """\
- The credit that orders hold is never more than the limit: the customer is written on condition that the version is still the
  one that was decided on.
- An order holds credit once or not at all, however often its event is delivered: the answer's id is derived from the event's.
- Every `OrderCreated` is answered by exactly one of `CustomerCreditReserved`, `CustomerCreditReservationFailed` and
  `CustomerValidationFailed`, and the answer never changes.
- Credit is given back only if it is held: cancelling twice, or what was never approved, gives nothing.""",
        customers.service,
        customers.events.CustomerEvent,
    ),
    Service(
        "Orders",
        "Orders",
        "Takes orders and knows what became of them. An order is PENDING until Customers has answered, then APPROVED or REJECTED; an"
        " approved one may be CANCELLED.",
        """\
- An order that was accepted is decided: its event is in the outbox if, and only if, the order is in the table.
- It is decided once. What arrives for an order that is no longer PENDING changes nothing.
- A rejected order says why: `INSUFFICIENT_CREDIT` or `UNKNOWN_CUSTOMER`.
- Only an APPROVED order can be cancelled; cancelling it again is answered alike.""",
        orders.service,
        orders.events.OrderEvent,
    ),
    Service(
        "OrderHistory",
        "Order history",
        "Answers queries that need what both services know, from a view of its own: a customer with orders, an order with its states."
        " It decides nothing and publishes nothing.",
        """\
- Any order of events, any number of times, leads to the same view: each write is guarded by the aggregate's version.
- The view never goes back: what is later by version stays.
- It is eventually consistent. What has not been heard of yet is a 404, or an older state.
- The customers and orders in it can be made anew: from the events, which the outboxes keep.""",
    ),
)


def documents() -> dict[Path, str]:
    """Each page, as it is to be committed."""
    pages = {ROOT / "docs/services" / service.page: _page(service) for service in SERVICES}
    return {**pages, ROOT / "docs/README.md": _index(pages)}


# Where things are found


@cache
def _load(name: str) -> dict[str, Any]:
    template: dict[str, Any] = cfn_yaml.load(str(ROOT / name))
    return template


def _resources(kind: str, template: str = "template.yaml") -> dict[str, Properties]:
    found = _load(template)["Resources"]
    return {name: r["Properties"] for name, r in found.items() if r["Type"] == kind}


def service_of(name: str) -> Service | None:
    """The service that has this in its name, spelled `OrdersOutbox` or `orders-outbox-relay`; None if none has."""
    plain = name.replace("-", "").lower()
    owners = [service for service in SERVICES if plain.startswith(service.prefix.lower())]
    return owners[0] if owners else None


def _owned(owner: Service | None, kind: str) -> dict[str, Properties]:
    found = _resources(kind)
    return {name: properties for name, properties in found.items() if service_of(name) == owner}


# A page


def _page(service: Service) -> str:
    sections = [
        ("Commands", _table(("command", "asked for by", "after it"), _commands(service))),
        ("Queries", _table(("query", "answers with"), _queries(service))),
        ("Events published", _table(("event", "says"), _published(service))),
        ("Events subscribed to", _table(("event", "leads to"), _subscribed(service))),
        ("Guarantees", service.guarantees),
        ("Data", _data(service)),
        (
            "Queues",
            _table(("queue or stream", "fed by", "gives up after", "to", "kept"), _queues(service))
            + "\n\nWhat can never be read is parked there at once. `make dlq` shows it, `make redrive` sends it back.",
        ),
        ("Functions", _functions(service)),
        ("Alarms", _alarms(service)),
        ("Observability", _observability(service)),
    ]
    body = "\n".join(f"## {title}\n\n{text}\n" for title, text in sections if text)
    return f"# {service.title}\n\n{service.description}\n\n{body}\n{_notice()}\n"


def _notice() -> str:
    return "`make docs` writes this page, from the template, the handlers and the prose in `infra/canvas.py`."


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rows = [header, ["---"] * len(header), *rows]
    if len(rows) == 2:
        return "None."
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _commands(service: Service) -> Iterator[Sequence[str]]:
    for name, function in commands(service).items():
        asked_by = [e.asked_by for e in _entries(service) if name in e.calls]
        yield f"`{name}`", ", ".join(asked_by), _first_line(function)


def commands(service: Service) -> dict[str, Any]:
    """The functions that change something. They are told the cause, which their events pass on."""
    if service.commands is None:
        return {}
    return {
        name: function
        for name, function in vars(service.commands).items()
        if inspect.isfunction(function) and "cause" in inspect.signature(function).parameters
    }


def _queries(service: Service) -> Iterator[Sequence[str]]:
    entries = {entry.asked_by: entry for entry in _entries(service)}
    for properties in _owned(service, "AWS::Serverless::Function").values():
        for method, path in _routes(properties):
            if method == "GET":
                entry = entries[f"`GET {path}`"]
                yield entry.asked_by, entry.says


def _published(service: Service) -> Iterator[Sequence[str]]:
    for event in service.events.__subclasses__() if service.events else ():
        name = event.__name__
        yield f"[`{name}`](../../events/schemas/{name}.json)", _first_line(event)


def _subscribed(service: Service) -> Iterator[Sequence[str]]:
    leads_to = {entry.asked_by: entry.calls for entry in _entries(service)}
    for rule in _owned(service, "AWS::Events::Rule").values():
        for name in rule["EventPattern"]["detail-type"]:
            calls = ", ".join(f"`{command}`" for command in leads_to.get(f"`{name}`", ()))
            yield f"[`{name}`](../../events/schemas/{name}.json)", calls or "a change of the view"


def _data(service: Service) -> str:
    if service.prefix != "OrderHistory":
        return _table(("table", "key", "besides"), _tables(service))
    _, _, layout = str(order_history.mongodb.__doc__).partition("\n")
    return f"In MongoDB:\n\n{layout.strip()}"


def _tables(service: Service) -> Iterator[Sequence[str]]:
    for name, table in _owned(service, "AWS::DynamoDB::Table").items():
        besides = [
            f"index `{index['IndexName']}` by `{'`, `'.join(_key(index))}`"
            for index in table.get("GlobalSecondaryIndexes", ())
        ]
        if "TimeToLiveSpecification" in table:
            besides.append(f"items expire at `{table['TimeToLiveSpecification']['AttributeName']}`")
        if "StreamSpecification" in table:
            besides.append("a stream")
        yield f"`{name}`", ", ".join(f"`{key}`" for key in _key(table)), "; ".join(besides)


def _key(table: Properties) -> list[str]:
    return [part["AttributeName"] for part in table["KeySchema"]]


def _queues(service: Service) -> Iterator[Sequence[str]]:
    queues = _owned(service, "AWS::SQS::Queue")
    fed_by = {
        _resource(target["Arn"]): f"rule `{rule}`"
        for rule, properties in _resources("AWS::Events::Rule").items()
        for target in properties["Targets"]
    }
    for name, queue in queues.items():
        if policy := queue.get("RedrivePolicy"):
            letters = _resource(policy["deadLetterTargetArn"])
            tries = f"{policy['maxReceiveCount']} tries"
            yield f"`{name}`", fed_by[f"`{name}`"], tries, letters, _kept(letters)
    for function in _owned(service, "AWS::Serverless::Function").values():
        for mapping in _sources(function, "DynamoDB"):
            letters = _resource(mapping["DestinationConfig"]["OnFailure"]["Destination"])
            hours = f"{mapping['MaximumRecordAgeInSeconds'] // 3_600} hours"
            yield _resource(mapping["Stream"]), "each new event", hours, letters, _kept(letters)


def _kept(queue: str) -> str:
    seconds = _resources("AWS::SQS::Queue")[queue.strip("`")]["MessageRetentionPeriod"]
    return f"{seconds // 86_400} days"


def _functions(owner: Service | None) -> str:
    def rows() -> Iterator[Sequence[str]]:
        limit = _load("template.yaml")["Globals"]["Function"]["Timeout"]
        roles = _resources("AWS::IAM::Role")
        for properties in _owned(owner, "AWS::Serverless::Function").values():
            name = _plain(properties["FunctionName"])
            folder = properties["Handler"].partition(".")[0]
            to_root = "../.." if owner else ".."
            yield (
                f"[`{name}`]({to_root}/functions/{folder}/handler.py)",
                properties["Description"],
                "; ".join(_invokers(properties)) or "nothing but its operator",
                f"{properties.get('Timeout', limit)} s",
                "; ".join(_permissions(roles[properties["Role"]["Fn::GetAtt"][0]])) or "nothing",
            )

    header = ("function", "is", "invoked by", "time limit", "may, beside logging")
    return _table(header, rows())


def _invokers(function: Properties) -> Iterator[str]:
    yield from (f"`{method} {path}`" for method, path in _routes(function))
    for mapping in _sources(function, "SQS"):
        yield f"up to {mapping['BatchSize']} messages of {_resource(mapping['Queue'])}"
    for mapping in _sources(function, "DynamoDB"):
        yield f"up to {mapping['BatchSize']} records of {_resource(mapping['Stream'])}"


def _routes(function: Properties) -> list[tuple[str, str]]:
    return [(route["Method"].upper(), route["Path"]) for route in _sources(function, "Api")]


def _sources(function: Properties, kind: str) -> list[Properties]:
    """The properties of its event sources of that type."""
    events = function.get("Events", {}).values()
    return [event["Properties"] for event in events if event["Type"] == kind]


def _permissions(role: Properties) -> Iterator[str]:
    for policy in role.get("Policies", ()):
        for choice in policy["PolicyDocument"]["Statement"]:
            statement = choice["Fn::If"][1] if "Fn::If" in choice else choice
            actions = statement["Action"]
            if not actions[0].startswith("logs:"):
                resources = statement["Resource"]
                several = resources if isinstance(resources, list) else [resources]
                on = ", ".join(map(_resource, several))
                yield f"{', '.join(action.partition(':')[2] for action in actions)} on {on}"


def _resource(value: Any) -> str:
    """What an intrinsic function names: `Customers`, the stream of `CustomersOutbox`."""
    if "Fn::GetAtt" in value:
        name, attribute = value["Fn::GetAtt"]
        return f"the stream of `{name}`" if attribute == "StreamArn" else f"`{name}`"
    text = re.sub(r"^arn:.*:secret:(.*?)-\?+$", r"\1", str(value["Fn::Sub"]))
    text = re.sub(r"\$\{([^}.]+)(\.Arn)?}", r"\1", text)
    return f"`{text}`"


def _plain(value: Any) -> str:
    """The name without that of the stack."""
    text = value["Fn::Sub"] if isinstance(value, dict) else value
    return re.sub(r"^\$\{(AWS::StackName|System)}-?", "", str(text))


def _alarms(owner: Service | None) -> str:
    """Those that ask the same of several things are in one row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for alarm in _resources("AWS::CloudWatch::Alarm", "infra/monitoring.yaml").values():
        watched = [_plain(dimension["Value"]) for dimension in alarm.get("Dimensions", ())]
        if next(filter(None, map(service_of, watched)), None) == owner:
            statistic = alarm.get("ExtendedStatistic") or alarm["Statistic"].lower()
            path, _, heading = alarm["AlarmDescription"].partition("#")
            to_docs = "../" if owner else ""
            asked = (
                f"{statistic} of `{_plain(alarm['MetricName'])}` above {alarm['Threshold']}",
                f"{alarm['DatapointsToAlarm']} of {alarm['EvaluationPeriods']} times {alarm['Period']} s",
                f"[{heading.replace('-', ' ')}]({to_docs}{path.removeprefix('docs/')}#{heading})",
            )
            rows.setdefault(asked, []).append(f"`{_plain(alarm['AlarmName'])}`")
    header = ("alarm", "when", "for", "run book")
    return _table(header, ((", ".join(names), *asked) for asked, names in rows.items()))


def _observability(service: Service) -> str:
    functions = _owned(service, "AWS::Serverless::Function").values()
    names = [_plain(function["FunctionName"]) for function in functions]
    body = _resources("AWS::CloudWatch::Dashboard", "infra/monitoring.yaml")["Dashboard"]
    measured: dict[str, list[str]] = {}
    for widget in json.loads(body["DashboardBody"]["Fn::Sub"])["widgets"]:
        for namespace, metric, *rest in widget["properties"]["metrics"]:
            function = _plain(rest[1])
            if namespace == NAMESPACE and function in names:
                measured.setdefault(metric, []).append(f"`{function}`")
    rows = [(f"`{metric}`", ", ".join(dict.fromkeys(by))) for metric, by in measured.items()]
    logs = ", ".join(f"`/aws/lambda/<stack>-{name}`" for name in names)
    return f"""\
On the dashboard, from the namespace `{NAMESPACE}`:

{_table(("metric", "told by"), rows)}

Logs: {logs}; JSON, found by `correlation_id`, `event_id`, `order_id` and `customer_id`. Traces: X-Ray, in production.
`GET /health` tells whether its database is there."""


# What the handlers do


@dataclass(frozen=True)
class _Entry:
    """A way into a service: a route, or an event."""

    asked_by: str
    calls: Sequence[str]
    """Functions of the service's module `service`."""
    says: str


@cache
def _entries(service: Service) -> tuple[_Entry, ...]:
    handlers = {
        f["Handler"].partition(".")[0]
        for f in _owned(service, "AWS::Serverless::Function").values()
    }
    return tuple(
        entry
        for folder in sorted(handlers)
        for node in ast.parse((ROOT / "functions" / folder / "handler.py").read_text()).body
        if isinstance(node, ast.FunctionDef)
        for entry in (*_route_entries(node), *_event_entries(node))
    )


def _route_entries(function: ast.FunctionDef) -> Iterator[_Entry]:
    """`@api.get("/orders/<orderId>")`"""
    for decorator in function.decorator_list:
        match decorator:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="api"), attr=method),
                args=[ast.Constant(value=str(path)), *_],
            ):
                route = re.sub(r"<(\w+)>", r"{\1}", path)
                docstring = ast.get_docstring(function) or function.name.replace("_", " ")
                yield _Entry(
                    f"`{method.upper()} {route}`", _calls(function), docstring.splitlines()[0]
                )


def _event_entries(function: ast.FunctionDef) -> Iterator[_Entry]:
    """`match envelope.event: case OrderCreated() as order: ...`"""
    for case in (node for node in ast.walk(function) if isinstance(node, ast.match_case)):
        for pattern in (n for n in ast.walk(case.pattern) if isinstance(n, ast.MatchClass)):
            if isinstance(pattern.cls, ast.Name):
                yield _Entry(f"`{pattern.cls.id}`", _calls(*case.body), "")


def _calls(*nodes: ast.AST) -> tuple[str, ...]:
    return tuple(
        inner.attr
        for node in nodes
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute)
        and isinstance(inner.value, ast.Name)
        and inner.value.id == "service"
    )


def _first_line(documented: Any) -> str:
    return (inspect.getdoc(documented) or "").partition("\n")[0]


# The index


def _index(pages: dict[Path, str]) -> str:
    """All documents that there are, and what belongs to no service."""
    docs = ROOT / "docs"
    texts = {path: path.read_text() for path in docs.rglob("*") if path.suffix in {".md", ".json"}}
    texts.pop(docs / "README.md", None)
    entries = "\n".join(
        f"- [{path.relative_to(docs)}]({path.relative_to(docs)}): {_gist(path, text)}"
        for path, text in sorted(
            (texts | pages).items(), key=lambda entry: (entry[0].parent, entry[0])
        )
    )
    return f"""\
# Documents

{entries}

## Functions of no service

{_functions(None)}

## Alarms of no service

{_alarms(None)}

{_notice()}
"""


def _gist(path: Path, text: str) -> str:
    """The first sentence of a page, the title of a document in JSON."""
    if path.suffix == ".json":
        document = json.loads(text)
        if isinstance(document, list):
            return "rows, for programs"
        language, version = next(iter(document.items()))
        return f"{document['info']['title']} ({language} {version})"
    paragraph = " ".join(text.split("\n\n")[1].split())
    return re.split(r"(?<=[.?]) ", paragraph)[0]


if __name__ == "__main__":
    write(documents())
