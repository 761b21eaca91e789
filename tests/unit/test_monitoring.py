"""infra/monitoring.yaml: everything is watched, by metrics that exist, and each alarm says what to do."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]

from orders.events import RejectionReason
from telemetry.metrics import NAMESPACE, Metric
from tests.template import DEVELOPMENT, PRODUCTION, ROOT, Stack, target

SYSTEM = "customers-and-orders"
RUN_BOOK = (ROOT / "docs/operate.md").read_text()
TEMPLATE: dict[str, Any] = cfn_yaml.load(str(ROOT / "infra/monitoring.yaml"))
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]

# Of AWS: what there is, and for what. Sources: "Lambda metrics", "Available CloudWatch metrics for Amazon SQS",
# "API Gateway dimensions and metrics", "DynamoDB metrics and dimensions" in the services' developer guides.
KNOWN_TO_AWS = {
    "AWS/Lambda": ({"Errors", "Throttles", "IteratorAge"}, {"FunctionName"}),
    "AWS/SQS": (
        {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"},
        {"QueueName"},
    ),
    "AWS/ApiGateway": ({"5XXError", "4XXError", "Count", "Latency"}, {"ApiName", "Stage"}),
    "AWS/DynamoDB": ({"WriteThrottleEvents"}, {"TableName"}),
}

Measured = tuple[str, str, dict[str, str]]
"""A namespace, a metric, and the values of its dimensions."""


def text(value: Any) -> str:
    """The value where the stack that is watched is called SYSTEM."""
    value = value["Fn::Sub"] if isinstance(value, dict) else value
    return str(value).replace("${System}", SYSTEM)


def name_of(value: Any) -> str:
    """The name that a resource of template.yaml has in that stack."""
    value = value["Fn::Sub"] if isinstance(value, dict) else value
    return str(value).replace("${AWS::StackName}", SYSTEM)


ALARMS = {n: r["Properties"] for n, r in RESOURCES.items() if r["Type"] == "AWS::CloudWatch::Alarm"}
FUNCTIONS = {n: name_of(f["FunctionName"]) for n, f in PRODUCTION.functions.items()}
QUEUES = {n: name_of(q["QueueName"]) for n, q in PRODUCTION.resources("AWS::SQS::Queue").items()}
TABLES = {
    n: name_of(t["TableName"]) for n, t in PRODUCTION.resources("AWS::DynamoDB::Table").items()
}


def dashboard() -> list[Measured]:
    body = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    found = []
    for widget in json.loads(text(body))["widgets"]:
        for namespace, metric, *rest in widget["properties"]["metrics"]:
            names = [part for part in rest if isinstance(part, str)]
            found.append((namespace, metric, dict(zip(names[::2], names[1::2], strict=True))))
    return found


def of_alarms() -> dict[str, Measured]:
    return {
        name: (
            alarm["Namespace"],
            text(alarm["MetricName"]),
            {d["Name"]: text(d["Value"]) for d in alarm.get("Dimensions", [])},
        )
        for name, alarm in ALARMS.items()
    }


def filtered() -> set[str]:
    """The metrics that are made from log lines here."""
    return {
        text(transformation["MetricName"])
        for resource in RESOURCES.values()
        if resource["Type"] == "AWS::Logs::MetricFilter"
        for transformation in resource["Properties"]["MetricTransformations"]
        if transformation["MetricNamespace"] == NAMESPACE
    }


# What is watched


def watched(namespace: str, metric: str, dimension: str) -> set[str]:
    return {
        dimensions[dimension]
        for ns, name, dimensions in of_alarms().values()
        if (ns, name) == (namespace, metric)
    }


@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_every_function_is_watched(metric: str) -> None:
    by_hand = {FUNCTIONS["OrderHistoryRebuildFunction"]}  # whoever invokes it sees how it ends

    assert watched("AWS/Lambda", metric, "FunctionName") == set(FUNCTIONS.values()) - by_hand


def test_every_queue_is_watched() -> None:
    dead_letters = {name for n, name in QUEUES.items() if n.endswith("DeadLetterQueue")}

    visible, age = "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"
    assert watched("AWS/SQS", visible, "QueueName") == dead_letters
    assert watched("AWS/SQS", age, "QueueName") == set(QUEUES.values()) - dead_letters


def test_every_relay_and_every_table_is_watched() -> None:
    relays = {name for name in FUNCTIONS.values() if name.endswith("relay")}

    assert len(relays) == 2
    assert watched("AWS/Lambda", "IteratorAge", "FunctionName") == relays
    assert watched("AWS/DynamoDB", "WriteThrottleEvents", "TableName") == set(TABLES.values())


def test_the_saga_and_the_api_are_watched() -> None:
    measured = {(namespace, metric) for namespace, metric, _ in of_alarms().values()}

    assert {(NAMESPACE, Metric.SAGA_DURATION), ("AWS/ApiGateway", "5XXError")} <= measured
    assert filtered() <= {metric for _, metric in measured}


# By what


@pytest.mark.parametrize(
    ("namespace", "metric", "dimensions"), [*of_alarms().values(), *dashboard()]
)
def test_a_metric_that_is_looked_at_exists(
    namespace: str, metric: str, dimensions: dict[str, str]
) -> None:
    if namespace != NAMESPACE:
        metrics_there, dimensions_there = KNOWN_TO_AWS[namespace]
        assert metric in metrics_there
        assert set(dimensions) == dimensions_there
    elif metric in filtered():
        assert not dimensions
    else:
        assert metric in set(Metric)
        reasons = {"reason"} if metric == Metric.ORDERS_REJECTED else set()
        assert set(dimensions) == {"service"} | reasons
        assert not reasons or dimensions["reason"] in set(RejectionReason)


@pytest.mark.parametrize(
    ("namespace", "metric", "dimensions"), [*of_alarms().values(), *dashboard()]
)
def test_what_is_looked_at_is_in_the_stack(
    namespace: str, metric: str, dimensions: dict[str, str]
) -> None:
    api = DEVELOPMENT.resources("AWS::Serverless::Api")["Api"]
    assert target(api["Name"]) == "AWS::StackName"
    there = {
        "FunctionName": set(FUNCTIONS.values()),
        "service": set(FUNCTIONS.values()),
        "QueueName": set(QUEUES.values()),
        "TableName": set(TABLES.values()),
        "ApiName": {SYSTEM},
        "Stage": {api["StageName"]},
        "reason": set(RejectionReason),
    }

    for name, value in dimensions.items():
        assert value in there[name]


def test_every_metric_of_ours_is_on_the_dashboard() -> None:
    assert {metric for ns, metric, _ in dashboard() if ns == NAMESPACE} == set(Metric)


# What then


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_names_an_entry_of_the_run_book_and_tells_somebody(name: str) -> None:
    alarm = ALARMS[name]
    headings = re.findall(r"^## (.*)$", RUN_BOOK, re.MULTILINE)
    anchors = {f"docs/operate.md#{h.lower().replace(' ', '-')}" for h in headings}

    assert alarm["AlarmDescription"] in anchors
    assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "Alerts"}]
    assert alarm["TreatMissingData"] == "notBreaching"


def test_an_entry_of_the_run_book_says_what_it_means_what_to_look_at_and_what_to_type() -> None:
    of_alarms = {alarm["AlarmDescription"].partition("#")[2] for alarm in ALARMS.values()}
    entries = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", RUN_BOOK, re.MULTILINE | re.DOTALL))

    for heading, entry in entries.items():
        if heading.lower().replace(" ", "-") in of_alarms:
            assert all(part in entry for part in ("*It means*", "*Look at*", "*Type*")), heading


def test_no_two_alarms_have_the_same_name() -> None:
    names = [text(alarm["AlarmName"]) for alarm in ALARMS.values()]

    assert len(names) == len(set(names))
    assert all(name.startswith(f"{SYSTEM}-") for name in names)


# When


@pytest.mark.parametrize(
    ("stack", "is_watched"),
    [
        (DEVELOPMENT, False),
        (PRODUCTION, True),
        (Stack(MongoDbUri="mongodb://somewhere", Alarms="on"), True),
        (Stack(Posture="production", MongoDbSecretName="uri", Alarms="off"), False),
    ],
    ids=["development", "production", "asked for", "not wanted"],
)
def test_there_are_alarms_in_production_and_where_they_are_asked_for(
    stack: Stack, is_watched: bool
) -> None:
    nested = stack.resources("AWS::CloudFormation::Stack")

    assert list(nested) == ["Monitoring"] * is_watched
    for properties in nested.values():
        assert properties["TemplateURL"] == "infra/monitoring.yaml"
        assert set(properties["Parameters"]) == set(TEMPLATE["Parameters"])
