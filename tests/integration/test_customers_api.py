"""The HTTP API of Customers on moto, called with the files in events/."""

from __future__ import annotations

import json
from dataclasses import fields
from decimal import Decimal
from typing import Any, get_args

import pytest
from mypy_boto3_dynamodb import DynamoDBClient
from pydantic import BaseModel

from customers.events import CustomerCreated, CustomerErased
from customers.repository import CustomerRepository
from customers.wire import CreateCustomerRequest, CustomerResponse
from functions.customers import api as handler
from functions.orders import api as orders_api
from orders.wire import CreateOrderRequest
from shared.identifiers import MAX_ID
from shared.money import MAX_CENTS, Money
from tests.integration.api import pages, request, send
from tests.integration.conftest import AwsCalls, LogLines
from tests.integration.tables import insert_customer, published, snapshot
from tests.samples import JANE

pytestmark = pytest.mark.usefixtures("dynamodb")

CREATE, LIST, GET = "customers_api_create", "customers_api_list", "customers_api_get"
ERASE = "customers_api_erase"
UNSET: dict[Any, Any] = {field.alias: None for field in CustomerResponse.model_fields.values()}
"""A customer's optional fields: each other field is in the expected answer."""


def found_after(body: object) -> Any:
    """The customer that was created from the body."""
    created = send(handler, CREATE, body=body, headers={"Idempotency-Key": None})
    return send(handler, GET, path_parameters={"customerId": created.json["customerId"]}).json


# POST /customers


def test_sample_creates_a_customer(dynamodb: DynamoDBClient, log_lines: LogLines) -> None:
    created = send(handler, CREATE)

    assert created.status == 200
    assert created.headers["Content-Type"] == "application/json"
    assert created.headers["ETag"] == '"1"'
    (envelope,) = published(dynamodb, "CustomersOutbox")
    customer_id = envelope.event.aggregate_id
    assert created.json == {"customerId": customer_id}
    assert envelope.event == CustomerCreated(
        customer_id=customer_id, name="Jane Doe", credit_limit=Money(500)
    )
    metadata = envelope.metadata
    assert metadata.correlation_id == created.headers["X-Correlation-Id"]
    assert (metadata.aggregate_version, metadata.causation_id) == (1, None)
    (line,) = log_lines()
    assert (line["level"], line["message"]) == ("INFO", "request handled")
    assert (line["method"], line["route"], line["status"]) == ("POST", "/customers", 200)
    assert line["correlation_id"] == created.headers["X-Correlation-Id"]
    assert line["customer_id"] == customer_id


def test_amounts_are_exact() -> None:
    amounts = ("0", "0.01", "4.1", "4.10", "5", "5.0", "12345678.9", "99999999999.99", "1e2")
    for amount in amounts:
        customer = found_after(f'{{"name": "Jane", "creditLimit": {{"amount": {amount}}}}}')
        assert customer["creditLimit"] == {"amount": Decimal(amount)}
        assert customer["availableCredit"] == {"amount": Decimal(amount)}


def test_names_are_kept_as_sent() -> None:
    for name in (
        *("x" * 200, "ü" * 200, "X", " J ", "Zoë Ångström", "Zoe\u0308", "王小明"),
        *("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "👩\u200d👩\u200d👧"),
        *("<script>alert(1)</script>", 'O\'Brien "Bob" \\ {$ne: 1}'),
    ):
        assert found_after({"name": name, "creditLimit": {"amount": 1}})["name"] == name


def test_repeated_request_creates_one_customer_and_another_with_its_key_none(
    dynamodb: DynamoDBClient,
) -> None:
    bodies = [
        '{"name": "Zoë", "creditLimit": {"amount": 4.1}}',
        '{"creditLimit":{"amount":4.10},"name":"Zo\\u00eb"}',
    ]
    first = send(handler, CREATE, body=bodies[0], headers={"Idempotency-Key": "key"})
    before = snapshot(dynamodb)

    for name in ("Idempotency-Key", "idempotency-key", "IDEMPOTENCY-KEY"):
        for body in bodies:
            repeated = send(handler, CREATE, body=body, headers={name: "key"})
            assert (repeated.status, repeated.json) == (200, first.json)
    other = send(handler, CREATE, body=bodies[0].replace("4.1", "4.11"), headers={name: "key"})
    other.problem(422, "idempotency-key-reused")
    assert snapshot(dynamodb) == before


OTHER_VALUES: dict[Any, Any] = {str: "Another text", int: 6, bool: True, Decimal: 5.01}
"""Of a type: a value unlike the default of any field."""


def with_other_values(model: type[BaseModel]) -> dict[str, Any]:
    """Return a request with such a value of each field, by the fields' names in JSON."""
    body = {}
    for field in model.model_fields.values():
        hint = (get_args(field.annotation) or (field.annotation,))[0]
        is_model = isinstance(hint, type) and issubclass(hint, BaseModel)
        value = with_other_values(hint) if is_model else OTHER_VALUES.get(hint)
        assert value is not None, f"{__file__}: add a value of {hint} to OTHER_VALUES"
        body[str(field.alias)] = value
    return body


def test_each_field_of_the_event_is_in_the_request() -> None:
    names = {field.name for field in fields(CustomerCreated)} - {"customer_id"}

    missing = names - CreateCustomerRequest.model_fields.keys()
    assert missing == set(), "layers/common/customers/wire.py: CreateCustomerRequest has not these"


def test_each_field_of_a_request_is_in_the_event_and_returned(dynamodb: DynamoDBClient) -> None:
    for api, model in ((handler, CreateCustomerRequest), (orders_api, CreateOrderRequest)):
        service = api.api.scope
        body = with_other_values(model)
        created = send(api, f"{service}_api_create", body=body)
        (aggregate_id,) = created.json.values()
        (envelope,) = published(dynamodb, f"{service.title()}Outbox")
        data = json.loads(envelope.to_detail())["data"]
        (parameter,) = request(f"{service}_api_get")["pathParameters"]
        found = send(api, f"{service}_api_get", path_parameters={parameter: aggregate_id})
        returned = json.loads(found.text)

        layer = f"layers/common/{service}"
        for name, value in body.items():
            in_data = (name, value)
            if isinstance(value, dict):
                in_data = (f"{name}Cents", round(value["amount"] * 100))
            assert in_data in data.items(), (
                f"{envelope.event_type} has not the {name} of the request: look at functions/{service}/"
                f"api.py, and at events.py, service.py and the aggregate in {layer}/"
            )
            assert returned.get(name) == value, (
                f"GET does not return the {name} of the request: look at wire.py and repository.py "
                f"in {layer}/"
            )


# GET /customers


def test_sample_lists_customers_with_their_credit(customers: CustomerRepository) -> None:
    insert_customer(customers, limit=500, reserved=90)

    listed = send(handler, LIST)

    assert listed.status == 200
    jane = {
        "customerId": JANE,
        "name": "Jane Doe",
        "creditLimit": {"amount": 5},
        "availableCredit": {"amount": Decimal("4.1")},
    }
    assert listed.json == {"customers": [UNSET | jane], "nextToken": None}
    assert '"amount":4.1}' in listed.text


@pytest.mark.usefixtures("short_pages")
def test_pages_have_every_customer_once(customers: CustomerRepository) -> None:
    assert pages(handler, LIST, "customers", {}) == [[]]
    for customer_id in range(1, 14):
        insert_customer(customers, customer_id)

    for limit in (1, 2, 3, 5, 13, 100):
        found = pages(handler, LIST, "customers", {"limit": limit})
        assert max(map(len, found)) <= limit
        ids = [customer["customerId"] for page in found for customer in page]
        assert sorted(ids) == [*range(1, 14)], limit


# GET /customers/{customerId}


def test_sample_finds_jane_with_exact_amounts(customers: CustomerRepository) -> None:
    insert_customer(customers, limit=MAX_CENTS, reserved=1)

    found = send(handler, GET)

    assert (found.status, found.headers["ETag"]) == (200, '"1"')
    assert found.json == UNSET | {
        "customerId": JANE,
        "name": "Jane Doe",
        "creditLimit": {"amount": 100_000_000_000},
        "availableCredit": {"amount": Decimal("99999999999.99")},
    }


def test_unknown_customer_returns_404() -> None:
    for customer_id in (1, 99, MAX_ID):
        refused = send(handler, GET, path_parameters={"customerId": customer_id})
        problem = refused.problem(404, "customer-not-found")
        assert problem["detail"] == f"Customer {customer_id} does not exist."


# DELETE /customers/{customerId}


def test_sample_erases_the_name_everywhere_and_repeating_it_changes_nothing(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    insert_customer(customers, reserved=90)

    erased = send(handler, ERASE)

    assert (erased.status, erased.text) == (204, "")
    created, event = published(dynamodb, "CustomersOutbox")
    unnamed = CustomerCreated(customer_id=JANE, name="erased", credit_limit=Money(500))
    assert (created.event, event.event) == (unnamed, CustomerErased(customer_id=JANE))
    assert event.metadata.aggregate_version == 2
    assert event.metadata.correlation_id == erased.headers["X-Correlation-Id"]
    found = customers.find(JANE)
    assert found is not None
    assert (found.name, found.erased, found.reserved_credit) == (None, True, Money(90))
    before = snapshot(dynamodb)
    assert "Jane" not in str(before)
    assert send(handler, ERASE).status == 204
    assert snapshot(dynamodb) == before


def test_erased_customer_is_not_found_and_not_listed(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    insert_customer(customers)
    send(handler, ERASE)

    send(handler, GET).problem(404, "customer-not-found")
    assert send(handler, LIST).json == {"customers": [], "nextToken": None}
    # The index is eventually consistent.
    dynamodb.update_item(
        TableName="Customers",
        Key={"customerId": {"N": str(JANE)}, "sk": {"S": "CUSTOMER"}},
        UpdateExpression="SET listedCustomerId = :id",
        ExpressionAttributeValues={":id": {"N": str(JANE)}},
    )
    assert send(handler, LIST).json == {"customers": [], "nextToken": None}


def test_name_is_erased_in_an_event_of_older_code_behind_a_page_without_it(
    customers: CustomerRepository, dynamodb: DynamoDBClient, aws_calls: AwsCalls
) -> None:
    insert_customer(customers)
    dynamodb.update_item(
        TableName="Customers",
        Key={"customerId": {"N": str(JANE)}, "sk": {"S": "CUSTOMER"}},
        UpdateExpression="REMOVE createdEventId",
    )
    last: Any = {"aggregateId": {"S": str(JANE)}, "eventId": {"S": "0"}}
    aws_calls.answer("Query", lambda *_: {"Items": [], "LastEvaluatedKey": last})

    assert send(handler, ERASE).status == 204

    assert "Jane" not in str(snapshot(dynamodb))
    assert aws_calls.requests("Query")[1]["ExclusiveStartKey"] == last


@pytest.mark.usefixtures("pauses")
def test_event_that_is_deleted_meanwhile_is_no_obstacle(
    customers: CustomerRepository, dynamodb: DynamoDBClient, aws_calls: AwsCalls
) -> None:
    insert_customer(customers)
    (created,) = published(dynamodb, "CustomersOutbox")
    key = {"aggregateId": {"S": str(JANE)}, "eventId": {"S": created.metadata.event_id}}

    def after_deletion(perform: Any, _request: Any) -> Any:
        dynamodb.delete_item(TableName="CustomersOutbox", Key=key)
        return perform()

    aws_calls.answer("TransactWriteItems", after_deletion)

    assert send(handler, ERASE).status == 204

    (event,) = published(dynamodb, "CustomersOutbox")
    assert event.event == CustomerErased(customer_id=JANE)


def test_unknown_customer_cannot_be_erased() -> None:
    send(handler, ERASE).problem(404, "customer-not-found")
