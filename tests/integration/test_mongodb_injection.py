"""No text of a request or an event becomes an operator, a field name or a filter in MongoDB.

A listener records the commands that the driver sends. Each must have one of a few known forms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.order_history import api as handler
from functions.order_history import projection
from messaging.envelope import DomainEventEnvelope
from order_history.queries import OrderHistoryQueries
from rest_api.pagination import encode_next_token
from tests.integration import mongodb
from tests.integration.api import answer, pages, request, send
from tests.integration.conftest import LambdaContext
from tests.integration.mongodb import Recorder
from tests.samples import JANE, any_envelope, load, messages, to_batch, to_message

SEARCH = "order_history_api_search"
COUNT, ORDER = "order_history_api_count", "order_history_api_order"
CUSTOMER, EVENTS = "order_history_api_customer", "order_history_api_events"
BATCH = "order_history_projection_batch"
OPERATORS = [
    *('{"$gt": ""}', '{"$ne": null}', '{"$where": "sleep(5000)"}', "[$ne]", "$where", "$set"),
    *("$$ROOT", "PENDING' || '1'=='1", "state.$gt", "orders.1.state", "',$or:[{},{'a':'a"),
    "\u0000$gt",
]
KEY = re.compile(r"\d{19}#((PENDING|APPROVED|REJECTED|CANCELLED)#)?\d{19}")
FIELD = re.compile(
    r"name|key|totalKey|stateOrderKey|erased|(creditLimit|availableCredit|orderTotal)Cents|version|customerId"
    r"|customerKey|stateKey|state"
    r"|rejectionReason|createdAt|timeline\.\d+|events\.[0-9a-f-]{36}\.(event|rebuiltAt|deliveries\.\d+)"
    r"|orders\.\d+\.(orderTotalCents|createdAt|rejectionReason|states\.\d+)|orders\.\d+"
)


BOUND = re.compile(r"(?:[^\W_]|[$#|])+\U0010ffff?")


def check(recorder: Recorder) -> int:
    """Check the form of all filters and updates. Return the number of commands."""
    for command in recorder.commands:
        if "find" in command:
            _check_filter(command["filter"])
        for update in command.get("updates", []):
            _check_update(update)
        assert command.keys() & {"find", "update", "count"}, command
    return len(recorder.commands)


def _check_filter(query: dict[str, Any]) -> None:
    ((field, condition),) = query.items()
    if field == "_id" and isinstance(condition, int):
        return
    if field == "_id":
        assert all(isinstance(i, int) for i in condition["$in"]), query
        assert len(condition) == 1, query
        return
    assert field in ("customerKey", "stateKey", "key", "totalKey", "stateOrderKey"), query
    assert list(condition) in (["$gte", "$lt"], ["$gt", "$lt"]), query
    assert all(BOUND.fullmatch(bound) for bound in condition.values()), query
    if field in ("customerKey", "stateKey"):
        first = condition["$gte"]
        assert KEY.fullmatch(first), query
        assert condition["$lt"] <= first[:-19] + 19 * "9", query


def _check_update(update: dict[str, Any]) -> None:
    query, change = update["q"], update["u"]
    assert not update.get("multi")
    assert type(query["_id"]) is int or re.fullmatch(r"\d{19}#\d{1,2}", query["_id"]), query
    if "version" in query:
        ((operator, version),) = query["version"].items()
        assert (operator, type(version)) == ("$lt", int)
    assert query.get("erased", {"$exists": False}) == {"$exists": False}
    assert query.keys() <= {"_id", "version", "erased"}
    assert change.keys() <= {"$set", "$setOnInsert", "$unset"}
    for path, value in [item for fields in change.values() for item in fields.items()]:
        assert FIELD.fullmatch(path), path
        fields = value if isinstance(value, dict) else {"value": value}
        assert all(v is None or type(v) in (bool, int, str) for v in fields.values()), value
        assert all(name.isalpha() for name in fields), value


@pytest.fixture
def recorder(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Record the functions' commands on a view that holds the events of the sample batch."""
    recorder = Recorder()
    with mongodb.fresh_view(mongodb_uri, event_listeners=[recorder]) as view:
        monkeypatch.setattr(handler, "view", OrderHistoryQueries(view.connection))
        monkeypatch.setattr(projection.subscriber, "_handler", view)
        assert projection.lambda_handler(load(BATCH), LambdaContext()) == {"batchItemFailures": []}
        recorder.commands.clear()
        yield recorder


def test_valid_requests_send_known_queries(recorder: Recorder) -> None:
    valid: list[tuple[str, dict[str, Any]]] = [(COUNT, {}), (ORDER, {}), (EVENTS, {})]
    for sample, query in [*valid, (CUSTOMER, {"state": "PENDING"})]:
        assert send(handler, sample, query=query).status == 200
    token = send(handler, CUSTOMER, query={"limit": 1}).json["nextToken"]
    assert send(handler, CUSTOMER, query={"nextToken": token}).status == 200

    assert check(recorder) == 9
    for query in (
        {"q": "jane 4"},
        {"q": f"{JANE} rej", "limit": 1},
        {"q": "d", "state": "REJECTED"},
    ):
        assert pages(handler, SEARCH, "hits", query)[0]
    check(recorder)


def test_operator_in_a_parameter_is_refused_without_a_query(recorder: Recorder) -> None:
    for value in OPERATORS:
        for parameter in ("state", "limit", "nextToken"):
            for sample, query in ((CUSTOMER, {}), (SEARCH, {"q": "jane"})):
                refused = send(handler, sample, query={**query, parameter: value})
                refused.problem(400, "invalid-request")
        for sample, name in ((CUSTOMER, "customerId"), (ORDER, "orderId"), (EVENTS, "orderId")):
            assert send(handler, sample, path_parameters={name: value}).status in (400, 404)
    repeated = request(CUSTOMER, query={"state": "PENDING"})
    repeated["multiValueQueryStringParameters"] = {"state": ["PENDING", "APPROVED"]}
    answer(handler, repeated).problem(400, "invalid-request")

    assert recorder.commands == []


TEXT = st.text() | st.sampled_from(OPERATORS) | st.from_regex(r"\A[\[\]{}$.:\"'0-9a-z]{1,12}\Z")

POSITIONS = ("1", "0.0.", "0.1.doe#0|#", "0.4.0", "1.2.$#", "0.7.e#", "0.3.~", "9.9.")
TOKENS = [encode_next_token(position) for position in POSITIONS]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from([(CUSTOMER, "customerId"), (EVENTS, "orderId"), (SEARCH, None)]),
    id_in_path=st.integers(-10, 2**64).map(str) | TEXT,
    query=st.dictionaries(
        st.sampled_from(["state", "limit", "nextToken", "q"]) | TEXT,
        st.sampled_from(["PENDING", "1", "100", "d", f"4 {JANE}", *TOKENS]) | TEXT,
        max_size=4,
    ),
)
def test_any_request_sends_only_known_queries(
    recorder: Recorder, path: tuple[str, str | None], id_in_path: str, query: dict[str, str]
) -> None:
    recorder.commands.clear()
    sample, name = path

    ids = None if name is None else {name: id_in_path}
    answered = send(handler, sample, path_parameters=ids, query=query)

    assert answered.status in (200, 400, 404)
    check(recorder)
    assert not any("update" in command for command in recorder.commands)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_envelope())
def test_any_event_sends_only_known_updates(
    recorder: Recorder, envelope: DomainEventEnvelope
) -> None:
    recorder.commands.clear()

    answered = projection.lambda_handler(to_batch(to_message(envelope)), LambdaContext())

    assert answered == {"batchItemFailures": []}
    assert check(recorder) > 0


def test_name_that_looks_like_an_operator_is_stored_as_a_name(recorder: Recorder) -> None:
    message = next(m for m in messages(load(BATCH)) if m["detail-type"] == "CustomerCreated")
    for number, name in enumerate(OPERATORS, 77):
        message["detail"]["data"] |= {"customerId": number, "name": name}
        message["detail"]["metadata"] |= {"aggregateId": str(number)}
        projection.lambda_handler(to_batch(message), LambdaContext())

        shown = send(handler, CUSTOMER, path_parameters={"customerId": number})
        assert shown.json["name"] == name
        hits = send(handler, SEARCH, query={"q": name}).json["hits"]
        assert number in [hit["customerId"] for hit in hits], name
    check(recorder)


def test_unknown_fields_do_not_reach_the_database(recorder: Recorder) -> None:
    plain = send(handler, CUSTOMER).json
    batch = [*messages(load(BATCH))]
    for message in batch:
        for part in (message["detail"], *message["detail"].values()):
            part |= {"$set": {"name": "x"}, "orders.1": {}, "$unset": {"name": 1}, "name.$": "x"}

    assert projection.lambda_handler(to_batch(*batch), LambdaContext()) == {"batchItemFailures": []}

    assert check(recorder) > 1
    assert send(handler, CUSTOMER).json == plain
