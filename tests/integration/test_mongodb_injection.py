"""Nothing that a request or an event carries becomes an operator, a field or a filter in MongoDB.

The commands that the driver really sends are recorded, and held to the few forms that there are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from functions.order_history import api as handler
from functions.order_history import projection
from messaging.envelope import DomainEventEnvelope
from order_history.projection import project
from order_history.view import OrderHistoryView
from rest_api.pagination import encode_next_token
from shared.clock import now
from tests.integration import mongodb
from tests.integration.api import answer, request, send
from tests.integration.conftest import DeadLetters, LambdaContext
from tests.samples import any_envelope, load, messages, to_batch

COUNT, ORDER = "order_history_api_count", "order_history_api_order"
CUSTOMER, EVENTS = "order_history_api_customer", "order_history_api_events"
JANE = int(load(CUSTOMER)["pathParameters"]["customerId"])
BATCH = "order_history_projection_batch"

KEY = r"\d{19}#((PENDING|APPROVED|REJECTED|CANCELLED)#)?\d{19}"
EVENT_ID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
ORDER_KEY = rf"\d{{19}}#(\d{{4}}-\d\d-\d\dT[0-9:.]{{12}}Z#{EVENT_ID})?"
ENTRY = {"orderId", "orderTotalCents", "state", "rejectionReason", "createdAt", "version"}
FIELDS = re.compile(
    r"name|(creditLimit|availableCredit|orderTotal)Cents|version|customerId|customerKey|stateKey"
    r"|state|rejectionReason|createdAt|timeline\.\d+|orders\.\d+"
    r"|orderKey|type|source|aggregate(Type|Id|Version)|occurredAt|correlationId|causationId"
    r"|projectedAt|deliveries"
)

OPERATORS = [
    '{"$gt": ""}',
    '{"$ne": null}',
    '{"$where": "sleep(5000)"}',
    "[$ne]",
    "$where",
    "$ne",
    "PENDING' || '1'=='1",
    "state.$gt",
    "orders.1.state",
    "APPROVED.$ne",
    "',$or:[{},{'a':'a",
    "1; return true",
    "\u0000$gt",
    "true, $where: '1 == 1'",
]


class Recorder(CommandListener):
    """What was sent to the server, in order."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.commands.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass

    def filters(self) -> list[dict[str, Any]]:
        """All filters of all queries."""
        found = []
        for command in self.commands:
            if "find" in command:
                found.append(command["filter"])
            elif "aggregate" in command:
                found += [stage["$match"] for stage in command["pipeline"] if "$match" in stage]
        return found

    def updates(self) -> list[dict[str, Any]]:
        """All updates, with their filters."""
        return [u for command in self.commands if "update" in command for u in command["updates"]]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def view(mongodb_uri: str, recorder: Recorder) -> Iterator[OrderHistoryView]:
    with mongodb.fresh_view(mongodb_uri, event_listeners=[recorder]) as view:
        yield view


@pytest.fixture(autouse=True)
def story(view: OrderHistoryView, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions' view is recorded, and has what events/order_history_projection_batch.json tells."""
    monkeypatch.setattr(handler, "view", view)
    monkeypatch.setattr(projection, "view", view)
    assert projection.lambda_handler(load(BATCH), LambdaContext()) == {"batchItemFailures": []}
    recorder.commands.clear()


def assert_is_a_query_of_ours(query: dict[str, Any]) -> None:
    """The filter is one of the six that there are, with integers, keys and events' ids in it."""
    match query:
        case {"_id": int() as number}:
            assert 1 <= number < 2**63
        case {"_id": str() as event_id}:
            assert re.fullmatch(EVENT_ID, event_id)
        case {"orderKey": {"$gt": str() as last, "$lt": str() as end}}:
            assert re.fullmatch(ORDER_KEY, last)
            assert re.fullmatch(r"\d{19}#", end)
        case {"name": {"$exists": True}}:
            pass
        case {"customerKey": {"$gte": str() as first, "$lt": str() as end}}:
            assert re.fullmatch(KEY, first)
            assert re.fullmatch(KEY, end)
            assert first[:19] == end[:19]
        case {"stateKey": {"$gte": str() as first, "$lt": str() as end}}:
            assert re.fullmatch(KEY, first)
            assert re.fullmatch(KEY, end)
            assert first[:-19] == end[:-19]
        case _:
            raise AssertionError(query)
    assert len(query) == 1


def assert_is_an_update_of_ours(update: dict[str, Any]) -> None:
    """The update sets fields that there are to plain values, in one document."""
    query, change = update["q"], update["u"]
    assert type(query["_id"]) in (int, str)
    assert not update.get("multi")
    for name, guard in query.items():
        if name != "_id":
            assert re.fullmatch(r"version|orders\.\d+(\.version)?", name), query
            ((operator, value),) = guard.items()
            assert (operator, type(value)) in {("$lt", int), ("$exists", bool)}
    assert set(change) <= {"$set", "$setOnInsert", "$unset", "$inc"}
    for operator in change:
        for path, value in change[operator].items():
            assert FIELDS.fullmatch(path), path
            if isinstance(value, dict):
                assert set(value) in (ENTRY, {"state", "at"})
            plain = value.values() if isinstance(value, dict) else [value]
            assert all(v is None or type(v) in (int, str) for v in plain)


# Requests


@pytest.mark.parametrize("value", OPERATORS)
@pytest.mark.parametrize("parameter", ["state", "limit", "nextToken"])
def test_an_operator_in_a_query_parameter_is_refused_and_asks_nothing(
    recorder: Recorder, parameter: str, value: str
) -> None:
    refused = send(handler, CUSTOMER, query={parameter: value})

    refused.problem(400, "invalid-request")
    assert recorder.filters() == []


@pytest.mark.parametrize("value", [*OPERATORS, "YWZ0ZXI6MQ", encode_next_token("$ne")])
def test_an_operator_as_the_token_of_a_page_of_events_is_refused(
    recorder: Recorder, value: str
) -> None:
    refused = send(handler, EVENTS, query={"nextToken": value})

    refused.problem(400, "invalid-request")
    for query in recorder.filters():
        assert_is_a_query_of_ours(query)


@pytest.mark.parametrize("value", OPERATORS)
@pytest.mark.parametrize(
    ("sample", "name"), [(CUSTOMER, "customerId"), (ORDER, "orderId"), (EVENTS, "orderId")]
)
def test_an_operator_in_an_id_is_refused_and_asks_nothing(
    recorder: Recorder, sample: str, name: str, value: str
) -> None:
    refused = send(handler, sample, path_parameters={name: value})

    assert refused.status in (400, 404)
    assert recorder.filters() == []


@pytest.mark.parametrize(
    "query",
    [
        {"customerId[$ne]": "1"},
        {"customerId": '{"$ne": 1}'},
        {"_id[$gt]": "0"},
        {"state[$ne]": "PENDING"},
        {"state.$ne": "PENDING"},
        {"state[]": "PENDING"},
        {"$where": "1"},
        {"filter": '{"$where": "1"}'},
        {"nextToken[$gt]": ""},
    ],
)
def test_an_operator_in_a_parameters_name_changes_nothing(
    recorder: Recorder, query: dict[str, object]
) -> None:
    plain = send(handler, CUSTOMER, query={})
    asked = recorder.filters()
    recorder.commands.clear()

    shown = send(handler, CUSTOMER, query=query)

    assert shown.json == plain.json
    assert recorder.filters() == asked == [{"_id": JANE}]


def test_a_parameter_with_two_values_is_refused_and_asks_nothing(recorder: Recorder) -> None:
    event = request(CUSTOMER, query={"state": "PENDING"})
    event["multiValueQueryStringParameters"] = {"state": ["PENDING", "APPROVED"]}

    answer(handler, event).problem(400, "invalid-request")

    assert recorder.filters() == []


def test_what_is_allowed_asks_what_it_should(recorder: Recorder) -> None:
    for sample, query in [
        (COUNT, {}),
        (ORDER, {}),
        (CUSTOMER, {}),
        (CUSTOMER, {"state": "PENDING"}),
        (EVENTS, {}),
    ]:
        assert send(handler, sample, query=query).status == 200
    for sample in (CUSTOMER, EVENTS):
        token = send(handler, sample, query={"limit": 1}).json["nextToken"]
        assert send(handler, sample, query={"nextToken": token}).status == 200

    assert len(recorder.filters()) == 15
    for query in recorder.filters():
        assert_is_a_query_of_ours(query)


TEXT = st.text() | st.sampled_from(OPERATORS) | st.from_regex(r"\A[\[\]{}$.:\"'0-9a-z]{1,12}\Z")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from([(CUSTOMER, "customerId"), (EVENTS, "orderId")]),
    id_in_path=st.integers(-10, 2**64).map(str) | TEXT,
    query=st.dictionaries(
        st.sampled_from(["state", "limit", "nextToken"]) | TEXT,
        st.sampled_from(["PENDING", "APPROVED", "1", "100", "YWZ0ZXI6MQ"]) | TEXT,
        max_size=4,
    ),
)
def test_whatever_is_asked_only_queries_of_ours_are_sent(
    recorder: Recorder, path: tuple[str, str], id_in_path: str, query: dict[str, str]
) -> None:
    recorder.commands.clear()
    sample, name = path

    answered = send(handler, sample, path_parameters={name: id_in_path}, query=query)

    assert answered.status in (200, 400, 404)
    assert recorder.updates() == []
    for sent in recorder.filters():
        assert_is_a_query_of_ours(sent)


# Events


@pytest.mark.parametrize("name", [*OPERATORS, "$set", "a.b.c", "orders.1.state", "$$ROOT"])
def test_a_name_that_looks_like_an_operator_is_a_name(recorder: Recorder, name: str) -> None:
    message = next(m for m in messages(load(BATCH)) if m["detail-type"] == "CustomerCreated")
    message["detail"]["data"] |= {"customerId": 77, "name": name}
    message["detail"]["metadata"] |= {"aggregateId": "77"}

    projection.lambda_handler(to_batch(message), LambdaContext())

    shown = send(handler, CUSTOMER, path_parameters={"customerId": 77})
    assert shown.json["name"] == name
    for update in recorder.updates():
        assert_is_an_update_of_ours(update)


def test_fields_that_are_not_known_do_not_reach_the_database(recorder: Recorder) -> None:
    plain = send(handler, CUSTOMER).json
    batch = [*messages(load(BATCH))]
    for message in batch:
        for part in (message["detail"], *message["detail"].values()):
            part |= {"$set": {"name": "x"}, "orders.1": {}, "$unset": {"name": 1}, "name.$": "x"}

    answered = projection.lambda_handler(to_batch(*batch), LambdaContext())

    assert answered == {"batchItemFailures": []}
    assert recorder.updates()
    for update in recorder.updates():
        assert_is_an_update_of_ours(update)
    assert send(handler, CUSTOMER).json == plain


@pytest.mark.parametrize("value", ["1.state", "$ne", {"$gt": 0}, ["1"], 1.5, None, True])
@pytest.mark.parametrize("field", ["orderId", "customerId", "orderTotalCents", "aggregateVersion"])
def test_what_is_no_number_where_one_makes_a_path_or_filter_is_no_event(
    recorder: Recorder, dead_letters: DeadLetters, field: str, value: object
) -> None:
    message = next(m for m in messages(load(BATCH)) if m["detail-type"] == "OrderCreated")
    part = "metadata" if field == "aggregateVersion" else "data"
    message["detail"][part][field] = value
    if field == "orderId":
        message["detail"]["metadata"]["aggregateId"] = str(value)

    projection.lambda_handler(to_batch(message), LambdaContext())

    (letter,) = dead_letters()
    assert json.loads(letter["Body"]) == message
    assert recorder.commands == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_envelope())
def test_whatever_an_event_says_only_updates_of_ours_are_sent(
    view: OrderHistoryView, recorder: Recorder, envelope: DomainEventEnvelope
) -> None:
    recorder.commands.clear()

    project(envelope, view, delivered_at=now())

    for update in recorder.updates():
        assert_is_an_update_of_ours(update)
