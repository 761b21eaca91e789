"""infra/monitoring.yaml: everything is watched, by metrics that exist, and each alarm names its runbook entry."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from orders.events import RejectionReason
from telemetry.metrics import NAMESPACE, Metric
from tests.template import DEVELOPMENT, PRODUCTION, ROOT, ByLogicalId, load_template

SYSTEM = "customers-and-orders"

# AWS's metrics and their dimensions. Sources: "Lambda metrics", "Available CloudWatch metrics for Amazon SQS",
# "API Gateway dimensions and metrics", "DynamoDB metrics and dimensions" in the services' developer guides.
SQS = {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"}
SQS |= {"NumberOfMessagesReceived", "NumberOfMessagesDeleted"}
KNOWN_TO_AWS = {
    "AWS/Lambda": ({"Errors", "Throttles", "IteratorAge"}, {"FunctionName"}),
    "AWS/SQS": (SQS, {"QueueName"}),
    "AWS/ApiGateway": ({"5XXError", "4XXError", "Count", "Latency"}, {"ApiName", "Stage"}),
    "AWS/DynamoDB": ({"WriteThrottleEvents"}, {"TableName"}),
}

Measured = tuple[str, str, dict[str, str]]
"""A namespace, a metric, and the values of its dimensions."""


def names(resource_type: str, property_name: str) -> dict[str, str]:
    """The physical names of the stack's resources of the type, by logical id."""
    found = PRODUCTION.resources(resource_type).items()
    return {n: r[property_name]["Fn::Sub"].replace("${AWS::StackName}", SYSTEM) for n, r in found}


FUNCTIONS = names("AWS::Serverless::Function", "FunctionName")
QUEUES = names("AWS::SQS::Queue", "QueueName")
TABLES = names("AWS::DynamoDB::Table", "TableName")
(NESTED,) = PRODUCTION.resources("AWS::CloudFormation::Stack").values()
PHYSICAL: dict[str, str] = ByLogicalId(
    FUNCTIONS | TABLES | {f"{n}.QueueName": name for n, name in QUEUES.items()}
)
LISTS = {
    name: [PHYSICAL[part] for part in re.findall(r"\$\{([\w.]+)}", value["Fn::Sub"])]
    for name, value in NESTED["Parameters"].items()
    if isinstance(value, dict) and "Fn::Sub" in value
}
TEMPLATE = load_template("infra/monitoring.yaml")
RESOURCES = TEMPLATE["Resources"]
ALARMS = list(PRODUCTION.resources("AWS::CloudWatch::Alarm").values())
ALARMS += [r["Properties"] for r in RESOURCES.values() if r["Type"] == "AWS::CloudWatch::Alarm"]


def text(value: Any) -> str:
    """The value where the stack is called SYSTEM."""
    match value:
        case {"Fn::Sub": template}:
            return re.sub(r"\$\{(AWS::StackName|System)}", SYSTEM, template)
        case {"Fn::GetAtt": [name, attribute]}:
            return PHYSICAL[f"{name}.{attribute}"]
        case {"Ref": name}:
            return PHYSICAL.get(name, SYSTEM)
    return str(value)


def of_alarms() -> Iterator[Measured]:
    for alarm in ALARMS:
        stats = [m["MetricStat"]["Metric"] for m in alarm.get("Metrics", []) if "MetricStat" in m]
        for metric in stats or [alarm]:
            dimensions = {d["Name"]: text(d["Value"]) for d in metric.get("Dimensions", [])}
            yield metric["Namespace"], text(metric["MetricName"]), dimensions


def of_dashboard() -> Iterator[Measured]:
    body, joined = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    for variable, join in joined.items():
        between, collection = join["Fn::Join"]
        body = body.replace(f"${{{variable}}}", between.join(LISTS[collection["Ref"]]))
    for widget in json.loads(text({"Fn::Sub": body}))["widgets"]:
        for namespace, metric, *rest in widget["properties"]["metrics"]:
            parts = [part for part in rest if isinstance(part, str)]
            yield namespace, metric, dict(zip(parts[::2], parts[1::2], strict=True))


def watched(namespace: str, metric: str) -> set[str]:
    """The functions, queues or tables that an alarm watches by the metric."""
    found = [d for ns, name, d in of_alarms() if (ns, name) == (namespace, metric)]
    return {value for dimensions in found for value in dimensions.values()}


def test_every_function_queue_relay_and_table_is_watched() -> None:
    relays = {name for name in FUNCTIONS.values() if name.endswith("relay")}
    dead_letters = {name for name in QUEUES.values() if name.endswith("dead-letters")}
    subscribers = set(QUEUES.values()) - dead_letters

    for name, there in (
        ("Functions", set(FUNCTIONS.values())),
        ("Subscribers", subscribers),
        ("Relays", relays),
        ("DeadLetterQueues", dead_letters),
        ("Tables", set(TABLES.values())),
    ):
        assert set(LISTS[name]) == there, f"template.yaml, parameter {name} of Monitoring"
    for metric in ("Errors", "Throttles"):
        assert watched("AWS/Lambda", metric) == set(FUNCTIONS.values())
    assert watched("AWS/Lambda", "IteratorAge") == relays
    assert watched("AWS/DynamoDB", "WriteThrottleEvents") == set(TABLES.values())
    assert watched("AWS/SQS", "ApproximateNumberOfMessagesVisible") == dead_letters
    for metric in SQS - {"ApproximateNumberOfMessagesVisible"}:
        assert watched("AWS/SQS", metric) == subscribers
    assert watched("AWS/ApiGateway", "5XXError") == {SYSTEM, "v1"}
    assert watched(NAMESPACE, Metric.SAGA_DURATION)


def test_every_metric_that_is_looked_at_exists() -> None:
    there = {*FUNCTIONS.values(), *QUEUES.values(), *TABLES.values(), *RejectionReason}
    there |= {SYSTEM, "v1"}
    filters = [r["Properties"] for r in RESOURCES.values() if "MetricFilter" in r["Type"]]
    filtered = {text(t["MetricName"]) for f in filters for t in f["MetricTransformations"]}

    for namespace, metric, dimensions in [*of_alarms(), *of_dashboard()]:
        assert set(dimensions.values()) <= there, dimensions
        if namespace == NAMESPACE:
            reasons = {"reason"} if metric == Metric.ORDERS_REJECTED else set()
            assert metric in filtered or metric in set(Metric)
            assert set(dimensions) == (set() if metric in filtered else {"service"} | reasons)
        else:
            metrics, names_of_dimensions = KNOWN_TO_AWS[namespace]
            assert metric in metrics
            assert set(dimensions) == names_of_dimensions
    assert {metric for ns, metric, _ in of_dashboard() if ns == NAMESPACE} == set(Metric)
    assert {d["reason"] for *_, d in of_dashboard() if "reason" in d} == set(RejectionReason)


def test_throttled_requests_are_counted_from_the_access_log() -> None:
    pattern = RESOURCES["ApiThrottlesFilter"]["Properties"]["FilterPattern"]
    line = PRODUCTION.resources("AWS::Serverless::Api")["Api"]["AccessLogSetting"]["Format"]

    assert pattern == '{ $.status = "429" }'
    assert '"status":"$context.status"' in line


def test_alarm_names_an_entry_of_the_runbook_and_goes_to_the_topic() -> None:
    runbook = (ROOT / "docs/operate.md").read_text()
    headings = re.findall(r"^## (.*)$", runbook, re.MULTILINE)
    anchors = {f"docs/operate.md#{h.lower().replace(' ', '-')}" for h in headings}

    for alarm in ALARMS:
        assert alarm["AlarmDescription"] in anchors
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "Alerts"}]
        assert alarm["TreatMissingData"] == "notBreaching"
        assert text(alarm["AlarmName"]).startswith(f"{SYSTEM}-")


def test_alarms_exist_in_production_and_where_the_parameter_asks_for_them() -> None:
    assert NESTED["Parameters"].keys() == TEMPLATE["Parameters"].keys()
    for stack, expected in (
        (DEVELOPMENT, 0),
        (DEVELOPMENT.with_parameters(Alarms="on"), 1),
        (PRODUCTION.with_parameters(Alarms="posture"), 1),
        (PRODUCTION.with_parameters(Alarms="off"), 0),
    ):
        assert len(stack.resources("AWS::CloudFormation::Stack")) == expected
