"""Log lines have no name, amount, token, key or password, also when a part fails."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from botocore.exceptions import EndpointConnectionError
from mypy_boto3_dynamodb import DynamoDBClient
from pymongo import MongoClient

from customers import service as customers_service
from functions.customers import api as customers_api
from functions.health import handler as health
from functions.order_history import api as order_history_api
from functions.order_history import projection
from functions.outbox_relay import handler as relay
from messaging.relay import EventsNotPublishedError
from order_history import connection
from order_history.connection import InvalidMongoDbUriError, ViewConnection
from order_history.queries import OrderHistoryQueries
from order_history.view import OrderHistoryView
from rest_api.authorization import TokenVerifier
from rest_api.health import Health
from tests.integration.api import request
from tests.integration.conftest import DeadLetters, LambdaContext
from tests.integration.tables import TABLES, items
from tests.samples import load, messages, samples, to_batch
from tests.template import function_of, handler_of, has_database, subscribers

NAME = "Markedname Secretson"
TOKEN = "markedtoken.eyJzdWIiOiJtYXJrZWQifQ.c2lnbmF0dXJl"
KEY = "markedkey-0b1c"
PASSWORD = "markedpassword"
AMOUNT, CENTS = 76543.21, 7654321
SECRETS = (
    *("Markedname", "Secretson", "markedtoken", "eyJzdWIi", "c2lnbmF0", KEY, PASSWORD),
    *(str(AMOUNT), str(CENTS)),
)
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": KEY}
CUSTOMER = {"name": NAME, "creditLimit": {"amount": AMOUNT}}
BODIES = {
    "customers_api_create": CUSTOMER,
    "orders_api_create": {"customerId": 1, "orderTotal": {"amount": AMOUNT}},
}
FUNCTIONS = {name: function_of(name) for name in samples()}
APIS = {
    name: handler_of(function)
    for name, function in FUNCTIONS.items()
    if has_database(function) and "httpMethod" in load(name)
}
BATCHES = {
    name: handler_of(function)
    for name, function in FUNCTIONS.items()
    if handler_of(function) in subscribers().values()
}


@pytest.fixture
def output(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Iterator[io.StringIO]:
    """Collect everything that reaches CloudWatch. Assert at the end of the test that it contains no secret."""
    stream = io.StringIO()
    handler: Any = Logger().registered_handler
    previous = handler.setStream(stream)
    yield stream
    handler.setStream(previous)
    assert '"level"' in stream.getvalue(), "nothing was logged"
    others = [record for record in caplog.records if record.levelno >= logging.WARNING]
    formatted = [logging.Formatter().format(record) for record in others]
    text = "\n".join([stream.getvalue(), *capsys.readouterr(), *formatted])
    for secret in SECRETS:
        assert secret not in text, text


@pytest.fixture(autouse=True)
def a_view(view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    """The view's database is up, unless a test asks for `no_databases`."""
    use_view(view, monkeypatch)
    monkeypatch.setattr(health, "health", Health(health.CHECKS))


def use_view(view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection.subscriber, "_handler", view)
    monkeypatch.setattr(order_history_api, "view", OrderHistoryQueries(view.connection))
    monkeypatch.setattr(health, "view", lambda: view)


@pytest.fixture
def no_databases(dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables do not exist, and the view's database does not answer."""
    with monkeypatch.context() as patch:  # do not wait three seconds for a server
        impatient = {"serverSelectionTimeoutMS": 50}
        patch.setattr(connection, "MongoClient", lambda uri, **o: MongoClient(uri, **o | impatient))
        nowhere = ViewConnection(f"mongodb://markeduser:{PASSWORD}@127.0.0.1:1/nowhere")
    use_view(OrderHistoryView(nowhere), monkeypatch)
    for table in TABLES:
        dynamodb.delete_table(TableName=table)


def call(sample: str, **changes: Any) -> int:
    """Send the sample with all secrets. Return the status of the answer."""
    changes.setdefault("headers", HEADERS)
    if sample in BODIES:
        changes.setdefault("body", BODIES[sample])
    event = request(sample, **changes)
    status: int = APIS[sample].lambda_handler(event, LambdaContext())["statusCode"]
    return status


def marked(detail: dict[str, Any]) -> dict[str, Any]:
    """Mark the event's name and amounts, and add an unknown field."""
    data = detail["data"]
    data |= {field: CENTS for field in data if field.endswith("Cents")}
    data |= {"unknown": NAME} | ({"name": NAME} if "name" in data else {})
    return detail


def marked_batch(sample: str) -> dict[str, Any]:
    found = list(messages(load(sample)))
    for message in found:
        marked(message["detail"])
    return to_batch(*found)


@pytest.mark.usefixtures("output", "clock")
def test_requests(dynamodb: DynamoDBClient) -> None:
    for sample in APIS:
        assert call(sample) < 500, sample
    (item,) = items(dynamodb, "Customers")
    assert (item["name"], item["creditLimitCents"]) == ({"S": NAME}, {"N": str(CENTS)})


@pytest.mark.usefixtures("output", "no_databases", "clock")
def test_requests_while_all_databases_are_down() -> None:
    for sample in APIS:
        assert call(sample) >= 500, sample


@pytest.mark.usefixtures("dynamodb", "output")
def test_invalid_requests() -> None:
    limits = [{"creditLimit": {"amount": amount}} for amount in (NAME, -AMOUNT)]
    invalid: list[dict[str, Any]] = [{"name": [NAME]}, {NAME: NAME}, *limits]
    for body in (*({**CUSTOMER, **change} for change in invalid), f'{{"name": "{NAME}', ""):
        assert call("customers_api_create", body=body) == 400
    assert call("customers_api_get", path_parameters={"customerId": TOKEN}) == 400
    assert call("customers_api_list", query={"nextToken": TOKEN}) == 400
    assert call("customers_api_create", headers={"Idempotency-Key": NAME}) == 400
    assert call("customers_api_create", headers={"Content-Type": NAME}) == 415
    assert call("customers_api_create") == 200
    assert call("customers_api_create", body={**CUSTOMER, "creditLimit": {"amount": 6}}) == 422


@pytest.mark.usefixtures("dynamodb", "output")
def test_failed_transaction_whose_error_carries_the_stored_item(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(customers_service, "new_id", lambda: 7)
    assert call("customers_api_create") == 200
    assert call("customers_api_create", headers={"Idempotency-Key": f"{KEY}-2"}) == 500


@pytest.mark.usefixtures("dynamodb", "output")
def test_invalid_token_and_unreachable_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = TokenVerifier("http://127.0.0.1:1", "audience")
    monkeypatch.setattr(customers_api.api, "verifier", verifier)

    assert call("customers_api_list", headers={"Authorization": TOKEN}) == 401
    assert call("customers_api_list") == 401
    with_key_id = f"Bearer eyJhbGciOiJSUzI1NiJ9.{TOKEN.partition('.')[2]}"
    assert call("customers_api_list", headers={"Authorization": with_key_id}) == 500


@pytest.mark.usefixtures("dynamodb", "output", "dead_letters")
def test_batches() -> None:
    for sample, handler in BATCHES.items():
        handler.lambda_handler(marked_batch(sample), LambdaContext())


@pytest.mark.usefixtures("output", "no_databases")
def test_readable_messages_are_redelivered_while_all_databases_are_down(
    dead_letters: DeadLetters,
) -> None:
    for sample, handler in BATCHES.items():
        batch = marked_batch(sample)
        failed = handler.lambda_handler(batch, LambdaContext())["batchItemFailures"]
        unreadable = dead_letters()
        if has_database(FUNCTIONS[sample]):
            assert len(failed) + len(unreadable) == len(batch["Records"])


@pytest.mark.usefixtures("output")
def test_unreadable_messages(dead_letters: DeadLetters) -> None:
    def spoiled(part: str, name: str, value: object) -> dict[str, Any]:
        batch = messages(load("order_history_projection_batch"))
        message = next(m for m in batch if m["detail-type"] == "CustomerCreated")
        message["detail"][part][name] = value
        return message

    batch = to_batch(
        spoiled("data", "name", [NAME]),
        *(spoiled("data", "creditLimitCents", value) for value in (NAME, -CENTS)),
        spoiled("data", "customerId", NAME),
        *(spoiled("metadata", n, NAME) for n in ("occurredAt", "aggregateVersion")),
        f"{NAME} is no JSON",
        json.dumps([NAME]),
        json.dumps({"source": "x", "detail-type": "y", "detail": {"name": NAME}}),
    )

    projection.lambda_handler(batch, LambdaContext())

    assert len(dead_letters()) == len(batch["Records"])


def marked_records() -> list[dict[str, Any]]:
    batch: list[dict[str, Any]] = load("orders_outbox_relay_batch")["Records"]
    for record in batch:
        detail = record["dynamodb"]["NewImage"]["detail"]
        detail["S"] = json.dumps(marked(json.loads(detail["S"])))
    return batch


@pytest.mark.usefixtures("output")
def test_unreadable_records(dead_letters: DeadLetters) -> None:
    no_type, no_json, no_version = marked_records()[:3]
    del no_type["dynamodb"]["NewImage"]["eventType"]
    no_json["dynamodb"]["NewImage"]["detail"]["S"] = f"{NAME} is no JSON"
    detail = no_version["dynamodb"]["NewImage"]["detail"]
    version = '"aggregateVersion": '
    detail["S"] = detail["S"].replace(version, f'{version} "{NAME}", "x": ')

    relay.lambda_handler({"Records": [no_type, no_json, no_version]}, LambdaContext())

    assert len(dead_letters()) == 3


@pytest.mark.usefixtures("aws")
def test_unreachable_bus(output: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    def put_events(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://events")

    monkeypatch.setitem(relay.relay.__dict__, "_events", SimpleNamespace(put_events=put_events))

    with pytest.raises(EventsNotPublishedError) as raised:
        relay.lambda_handler({"Records": marked_records()}, LambdaContext())

    assert NAME not in str(raised.value)  # Lambda logs it
    assert "PutEvents failed" in output.getvalue()


def test_invalid_uri_is_not_quoted() -> None:
    for password in (f"x/{PASSWORD}", f"x:{PASSWORD}", f"x%{PASSWORD}", f"x@{PASSWORD}/y"):
        with pytest.raises(InvalidMongoDbUriError) as raised:
            ViewConnection(f"mongodb://somebody:{password}@host/order_history")

        assert PASSWORD not in str(raised.value)
        assert raised.value.__cause__ is None
        assert raised.value.__suppress_context__
