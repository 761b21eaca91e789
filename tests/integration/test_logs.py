"""What the functions log: no names, no tokens, no keys, no passwords, also where everything goes wrong."""

from __future__ import annotations

import copy
import io
import json
import logging
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger
from botocore.exceptions import EndpointConnectionError

from customers import service as customers_service
from customers.repository import CustomerRepository
from functions.customers import api as customers_api
from functions.customers import subscriber as customers_subscriber
from functions.health import handler as health
from functions.order_history import api as order_history_api
from functions.order_history import projection
from functions.orders import api as orders_api
from functions.orders import subscriber as orders_subscriber
from functions.outbox_relay import handler as relay
from messaging.relay import EventsNotPublishedError
from order_history.view import OrderHistoryView, connect
from rest_api.authorization import TokenVerifier
from tests.integration.api import request
from tests.integration.conftest import DeadLetters, LambdaContext
from tests.integration.tables import TABLES
from tests.samples import load, messages, to_batch

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NAME = "Markedname Secretson"
TOKEN = "markedtoken.eyJzdWIiOiJtYXJrZWQifQ.c2lnbmF0dXJl"
KEY = "markedkey-0b1c"
PASSWORD = "markedpassword"
SECRETS = ("Markedname", "Secretson", "markedtoken", "eyJzdWIi", "c2lnbmF0", KEY, PASSWORD)
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": KEY}
CUSTOMER = {"name": NAME, "creditLimit": {"amount": 5}}
APIS = {
    "customers_api_create": customers_api,
    "customers_api_list": customers_api,
    "customers_api_get": customers_api,
    "orders_api_create": orders_api,
    "orders_api_list": orders_api,
    "orders_api_get": orders_api,
    "orders_api_cancel": orders_api,
    "order_history_api_count": order_history_api,
    "order_history_api_customer": order_history_api,
    "order_history_api_order": order_history_api,
    "health_get": health,
}
BATCHES = {
    "customers_subscriber_batch": customers_subscriber,
    "customers_subscriber_partial_failure": customers_subscriber,
    "orders_subscriber_batch": orders_subscriber,
    "order_history_projection_batch": projection,
}


class Output:
    """All that gets into CloudWatch: what is logged, by whomever, and what is printed."""

    def __init__(
        self, logged: io.StringIO, capsys: pytest.CaptureFixture[str], caplog: Any
    ) -> None:
        self._logged, self._capsys, self._caplog = logged, capsys, caplog

    def text(self) -> str:
        printed = self._capsys.readouterr()
        others = [record for record in self._caplog.records if record.levelno >= logging.WARNING]
        formatter = logging.Formatter()
        return "\n".join(
            [self._logged.getvalue(), printed.out, printed.err, *map(formatter.format, others)]
        )


@pytest.fixture
def output(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Iterator[Output]:
    """Whatever the test has made the functions log; in the end no secret may be in it."""
    stream = io.StringIO()
    handler: Any = Logger().registered_handler
    previous = handler.setStream(stream)
    everything = Output(stream, capsys, caplog)
    yield everything
    handler.setStream(previous)
    text = everything.text()
    assert '"level"' in text, "nothing was logged"
    for secret in SECRETS:
        assert secret not in text, text


@pytest.fixture(autouse=True)
def a_view(view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is there, until a test says otherwise."""
    monkeypatch.setattr(projection, "view", view)
    monkeypatch.setattr(order_history_api, "view", view)
    monkeypatch.setattr(health, "view", lambda: view)
    monkeypatch.setattr(health, "health", health.Health())


@pytest.fixture
def no_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database does not answer."""
    nowhere = connect(f"mongodb://markeduser:{PASSWORD}@127.0.0.1:1/nowhere")
    monkeypatch.setattr(projection, "view", nowhere)
    monkeypatch.setattr(order_history_api, "view", nowhere)
    monkeypatch.setattr(health, "view", lambda: nowhere)


def call(sample: str, **changes: Any) -> int:
    """The status of the answer to the sample, sent with all the secrets there are."""
    changes.setdefault("headers", HEADERS)
    if sample == "customers_api_create":
        changes.setdefault("body", CUSTOMER)
    event = request(sample, **changes)
    status: int = APIS[sample].lambda_handler(event, LambdaContext())["statusCode"]
    return status


def named(batch: dict[str, Any]) -> dict[str, Any]:
    """The batch, with a marked name wherever an event has one, and in a field that nobody knows."""
    bodies = []
    for body in (record["body"] for record in batch["Records"]):
        message = json.loads(body)
        data = message["detail"]["data"]
        data |= {"unknown": NAME} | ({"name": NAME} if "name" in data else {})
        bodies.append(message)
    return to_batch(*bodies)


def spoiled(field: str, value: object) -> dict[str, Any]:
    """A batch with a CustomerCreated that has the value in a field where it does not belong."""
    for message in messages(load("order_history_projection_batch")):
        if message["detail-type"] == "CustomerCreated":
            part, _, name = field.partition(".")
            message["detail"][part][name] = value
            return to_batch(message)
    raise AssertionError("the sample has no CustomerCreated")


# Requests


@pytest.mark.usefixtures("dynamodb", "output")
@pytest.mark.parametrize("sample", APIS)
def test_requests(sample: str) -> None:
    assert call(sample) < 500


@pytest.mark.usefixtures("output", "no_view")
@pytest.mark.parametrize("sample", APIS)
def test_requests_while_nothing_works(dynamodb: DynamoDBClient, sample: str) -> None:
    for table in TABLES:
        dynamodb.delete_table(TableName=table)

    assert call(sample) >= 500


@pytest.mark.usefixtures("dynamodb", "output")
@pytest.mark.parametrize(
    "body",
    [
        {**CUSTOMER, "name": [NAME]},
        {**CUSTOMER, "creditLimit": {"amount": NAME}},
        {NAME: NAME},
        f'{{"name": "{NAME}',
        "",
    ],
    ids=["a list", "an amount", "a key", "half of it", "nothing"],
)
def test_requests_that_are_not_valid(body: object) -> None:
    assert call("customers_api_create", body=body) == 400


@pytest.mark.usefixtures("dynamodb", "output")
def test_secrets_where_they_do_not_belong() -> None:
    assert call("customers_api_get", path_parameters={"customerId": TOKEN}) == 400
    assert call("customers_api_list", query={"nextToken": TOKEN}) == 400
    assert call("customers_api_create", headers={"Idempotency-Key": NAME}) == 400
    assert call("customers_api_create", headers={"Content-Type": NAME}) == 415


@pytest.mark.usefixtures("dynamodb", "output")
def test_a_key_used_for_another_request() -> None:
    assert call("customers_api_create") == 200
    assert call("customers_api_create", body={**CUSTOMER, "creditLimit": {"amount": 6}}) == 422


@pytest.mark.usefixtures("dynamodb", "output")
def test_a_transaction_that_fails_over_an_item_with_a_name_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(customers_service, "new_id", lambda: 7)
    assert call("customers_api_create") == 200

    # DynamoDB gives back the item that is there already.
    assert call("customers_api_create", headers={"Idempotency-Key": f"{KEY}-2"}) == 500


@pytest.mark.usefixtures("dynamodb", "output")
def test_a_token_that_is_not_valid_and_an_issuer_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        customers_api.api, "verifier", TokenVerifier("http://127.0.0.1:1", "audience")
    )

    assert call("customers_api_list", headers={"Authorization": TOKEN}) == 401
    assert call("customers_api_list") == 401
    with_key_id = f"Bearer eyJhbGciOiJSUzI1NiJ9.{TOKEN.partition('.')[2]}"
    assert call("customers_api_list", headers={"Authorization": with_key_id}) == 500


# Messages


@pytest.mark.usefixtures("dynamodb", "output", "dead_letters")
@pytest.mark.parametrize("sample", BATCHES)
def test_batches(sample: str) -> None:
    BATCHES[sample].lambda_handler(named(load(sample)), LambdaContext())


@pytest.mark.usefixtures("output", "no_view", "dead_letters")
@pytest.mark.parametrize("sample", BATCHES)
def test_batches_while_nothing_works(dynamodb: DynamoDBClient, sample: str) -> None:
    for table in TABLES:
        dynamodb.delete_table(TableName=table)
    batch = to_batch(*(record["body"] for record in named(load(sample))["Records"][:2]))

    answer = BATCHES[sample].lambda_handler(batch, LambdaContext())

    assert answer["batchItemFailures"]


@pytest.mark.parametrize(
    "batch",
    [
        spoiled("data.name", [NAME]),
        spoiled("data.creditLimitCents", NAME),
        spoiled("data.customerId", NAME),
        spoiled("metadata.occurredAt", NAME),
        spoiled("metadata.aggregateVersion", NAME),
        spoiled("metadata.schemaVersion", NAME),
        to_batch(f"{NAME} is no JSON"),
        to_batch(json.dumps([NAME])),
        to_batch(json.dumps({"source": "x", "detail-type": "y", "detail": {"name": NAME}})),
    ],
    ids=["name", "amount", "id", "instant", "version", "schema", "no JSON", "a list", "unknown"],
)
@pytest.mark.usefixtures("output")
def test_poison(dead_letters: DeadLetters, batch: dict[str, Any]) -> None:
    projection.lambda_handler(batch, LambdaContext())

    assert len(dead_letters()) == 1


# The relay


def records() -> list[dict[str, Any]]:
    """Stream records with a name in each event."""
    batch: list[dict[str, Any]] = copy.deepcopy(load("outbox_relay_batch")["Records"])
    for record in batch:
        detail = json.loads(record["dynamodb"]["NewImage"]["detail"]["S"])
        detail["data"]["name"] = NAME
        record["dynamodb"]["NewImage"]["detail"]["S"] = json.dumps(detail)
    return batch


@pytest.mark.usefixtures("output")
def test_records_that_are_no_events(dead_letters: DeadLetters) -> None:
    no_type, no_json, no_version = records()[:3]
    del no_type["dynamodb"]["NewImage"]["eventType"]
    no_json["dynamodb"]["NewImage"]["detail"]["S"] = f"{NAME} is no JSON"
    detail = json.loads(no_version["dynamodb"]["NewImage"]["detail"]["S"])
    detail["metadata"]["aggregateVersion"] = NAME
    no_version["dynamodb"]["NewImage"]["detail"]["S"] = json.dumps(detail)

    relay.lambda_handler({"Records": [no_type, no_json, no_version]}, LambdaContext())

    assert len(dead_letters()) == 3


@pytest.mark.usefixtures("aws")
def test_a_bus_that_does_not_answer(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable:
        def put_events(self, **_: Any) -> None:
            raise EndpointConnectionError(endpoint_url="https://events")

    monkeypatch.setitem(relay.relay.__dict__, "_events", Unreachable())

    with pytest.raises(EventsNotPublishedError) as raised:
        relay.lambda_handler({"Records": records()}, LambdaContext())

    assert NAME not in str(raised.value)  # Lambda logs it
    assert "PutEvents failed" in output._logged.getvalue()


# The database's address


@pytest.mark.parametrize(
    "password", [f"x/{PASSWORD}", f"x:{PASSWORD}", f"x%{PASSWORD}", f"x@{PASSWORD}/y"]
)
def test_a_uri_that_cannot_be_read_is_not_quoted(password: str) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011, whatever it is: Lambda logs it
        connect(f"mongodb://somebody:{password}@host/order_history")

    assert PASSWORD not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


# Nothing of it is for nothing


def test_a_secret_would_be_found(
    capsys: pytest.CaptureFixture[str], customers: CustomerRepository
) -> None:
    """The markers are what the functions are given: the name is in the table, and in the event."""
    call("customers_api_create", headers={"Idempotency-Key": str(uuid.uuid4())})

    found, _ = customers.list(10, None)
    assert [customer.name for customer in found] == [NAME]
