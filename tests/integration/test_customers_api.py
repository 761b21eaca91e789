"""The HTTP API of Customers on moto, called with the files in events/."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from customers import service
from customers.customer import Customer
from customers.events import CustomerCreated
from customers.repository import CustomerRepository
from functions.customers import api as handler
from messaging.domain_event import Cause
from shared.identifiers import MAX_ID
from shared.money import MAX_CENTS, Money
from tests.integration.api import send
from tests.integration.conftest import LogLines
from tests.integration.tables import items, published, snapshot
from tests.samples import load

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.usefixtures("dynamodb")

CREATE, LIST, GET = "customers_api_create", "customers_api_list", "customers_api_get"
JANE = int(load(GET)["pathParameters"]["customerId"])
REQUEST = Cause("a request")


def jane(customers: CustomerRepository, limit: int = 500) -> None:
    """Jane Doe is there, by the id that she has in events/."""
    customer, created = Customer.create(JANE, "Jane Doe", Money(limit))
    customers.add(customer, created, REQUEST, None)


# POST /customers


def test_the_sample_creates_a_customer(dynamodb: DynamoDBClient) -> None:
    created = send(handler, CREATE)

    assert created.status == 200
    assert created.headers["Content-Type"] == "application/json"
    (envelope,) = published(dynamodb, "CustomersOutbox")
    assert created.json == {"customerId": envelope.event.aggregate_id}
    assert envelope.event == CustomerCreated(
        customer_id=created.json["customerId"], name="Jane Doe", credit_limit=Money(500)
    )


def test_the_request_is_what_the_event_is_correlated_with(dynamodb: DynamoDBClient) -> None:
    created = send(handler, CREATE)

    (envelope,) = published(dynamodb, "CustomersOutbox")
    assert envelope.metadata.correlation_id == created.headers["X-Correlation-Id"]


def test_an_answered_request_is_one_line_in_the_log(log_lines: LogLines) -> None:
    created = send(handler, CREATE)

    (line,) = log_lines()
    assert line["level"] == "INFO"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/customers", 200)
    assert line["correlation_id"] == created.headers["X-Correlation-Id"]
    assert line["customer_id"] == created.json["customerId"]


def test_the_sample_sent_twice_creates_one_customer(dynamodb: DynamoDBClient) -> None:
    first = send(handler, CREATE)
    before = snapshot(dynamodb)

    second = send(handler, CREATE)

    assert (second.status, second.json) == (200, first.json)
    assert snapshot(dynamodb) == before


@pytest.mark.parametrize("header", ["idempotency-key", "IDEMPOTENCY-KEY"])
def test_the_name_of_the_idempotency_key_is_spelled_in_any_case(header: str) -> None:
    first = send(handler, CREATE, headers={"Idempotency-Key": "key"})
    second = send(handler, CREATE, headers={header: "key"})

    assert second.json == first.json


def test_the_same_request_spelled_differently_is_the_same() -> None:
    bodies = [
        '{"name": "Zoë", "creditLimit": {"amount": 4.1}}',
        '{"creditLimit":{"amount":4.10},"name":"Zo\\u00eb"}',
    ]

    first, second = (send(handler, CREATE, body=body) for body in bodies)

    assert (second.status, second.json) == (200, first.json)


def test_an_idempotency_key_is_not_good_for_another_request(dynamodb: DynamoDBClient) -> None:
    send(handler, CREATE)
    before = snapshot(dynamodb)

    refused = send(handler, CREATE, body={"name": "Jane Doe", "creditLimit": {"amount": 6}})

    refused.problem(422, "idempotency-key-reused")
    assert snapshot(dynamodb) == before


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "schlüssel"])
def test_a_malformed_idempotency_key_is_refused(dynamodb: DynamoDBClient, key: str) -> None:
    refused = send(handler, CREATE, headers={"Idempotency-Key": key})

    problem = refused.problem(400, "invalid-request")
    assert [error["field"] for error in problem["errors"]] == ["idempotency-key"]
    assert items(dynamodb, "Customers") == []


def test_without_an_idempotency_key_each_request_creates_a_customer() -> None:
    answers = [send(handler, CREATE, headers={"Idempotency-Key": None}) for _ in range(2)]

    assert len({answer.json["customerId"] for answer in answers}) == 2


@pytest.mark.parametrize(
    "amount", ["0", "0.01", "4.1", "4.10", "5", "5.0", "12345678.9", "99999999999.99", "1e2"]
)
def test_amounts_come_back_exactly_as_the_number_that_was_sent(amount: str) -> None:
    body = f'{{"name": "Jane Doe", "creditLimit": {{"amount": {amount}}}}}'

    created = send(handler, CREATE, body=body)

    found = send(handler, GET, path_parameters={"customerId": created.json["customerId"]})
    assert found.json["creditLimit"] == {"amount": Decimal(amount)}
    assert found.json["availableCredit"] == {"amount": Decimal(amount)}


@pytest.mark.parametrize("name", ["x" * 200, "Zoë", "李小龍", "👩‍🚀", 'O\'Brien "Bob" <b>', " J "])
def test_names_come_back_as_they_were_sent(name: str) -> None:
    created = send(handler, CREATE, body={"name": name, "creditLimit": {"amount": 1}})

    found = send(handler, GET, path_parameters={"customerId": created.json["customerId"]})

    assert found.json["name"] == name


# GET /customers


def test_the_sample_lists_customers_with_their_credit(customers: CustomerRepository) -> None:
    jane(customers)
    service.reserve_credit(customers, JANE, 7, Money(90), REQUEST)

    listed = send(handler, LIST)

    assert listed.status == 200
    assert listed.json == {
        "customers": [
            {
                "customerId": JANE,
                "name": "Jane Doe",
                "creditLimit": {"amount": 5},
                "availableCredit": {"amount": Decimal("4.1")},
            }
        ],
        "nextToken": None,
    }
    assert '"amount":4.1}' in listed.text


def test_the_pages_of_the_list_have_every_customer_once(customers: CustomerRepository) -> None:
    created = {
        service.create_customer(customers, f"Customer {n}", Money(n), REQUEST) for n in range(5)
    }

    listed: list[int] = []
    query: dict[str, object] = {"limit": 2}
    while True:
        page = send(handler, LIST, query=query).json
        assert len(page["customers"]) <= 2
        listed += [customer["customerId"] for customer in page["customers"]]
        if page["nextToken"] is None:
            break
        query["nextToken"] = page["nextToken"]

    assert len(listed) == 5
    assert set(listed) == created


BAD_QUERIES = [
    ({"limit": 0}, "limit"),
    ({"limit": 101}, "limit"),
    ({"limit": "many"}, "limit"),
    ({"limit": 1.5}, "limit"),
    ({"nextToken": "x" * 65}, "nextToken"),
]


@pytest.mark.parametrize(("query", "field"), BAD_QUERIES)
def test_a_page_that_cannot_be_is_refused(query: dict[str, object], field: str) -> None:
    problem = send(handler, LIST, query=query).problem(400, "invalid-request")

    assert [error["field"] for error in problem["errors"]] == [field]


@pytest.mark.parametrize("token", ["", "forged", "YWZ0ZXI6LTE"])
def test_a_next_token_that_was_not_given_out_is_refused(token: str) -> None:
    send(handler, LIST, query={"nextToken": token}).problem(400, "invalid-request")


# GET /customers/{customerId}


def test_the_sample_finds_jane(customers: CustomerRepository) -> None:
    jane(customers)

    found = send(handler, GET)

    assert found.status == 200
    assert found.json == {
        "customerId": JANE,
        "name": "Jane Doe",
        "creditLimit": {"amount": 5},
        "availableCredit": {"amount": 5},
    }


def test_the_largest_amount_there_is_comes_back_exactly(customers: CustomerRepository) -> None:
    jane(customers, limit=MAX_CENTS)
    service.reserve_credit(customers, JANE, 7, Money(1), REQUEST)

    found = send(handler, GET)

    assert found.json["creditLimit"] == {"amount": 100_000_000_000}
    assert found.json["availableCredit"] == {"amount": Decimal("99999999999.99")}


@pytest.mark.parametrize("customer_id", [1, 99, MAX_ID])
def test_whoever_does_not_exist_is_not_found(customer_id: int) -> None:
    send(handler, GET, path_parameters={"customerId": customer_id}).problem(
        404, "customer-not-found"
    )


@pytest.mark.parametrize("customer_id", ["jane", "0", "-1", "1.5", MAX_ID + 1, "9" * 30, "count"])
def test_what_is_no_id_is_refused(customer_id: Any) -> None:
    refused = send(handler, GET, path_parameters={"customerId": customer_id})

    problem = refused.problem(400, "invalid-request")
    assert [error["field"] for error in problem["errors"]] == ["customerId"]


def test_an_idempotency_key_is_not_to_be_found_as_a_customer(dynamodb: DynamoDBClient) -> None:
    send(handler, CREATE)
    numbers = [int(item["customerId"]["N"]) for item in items(dynamodb, "Customers")]

    for number in numbers:
        if number < 0:
            send(handler, GET, path_parameters={"customerId": number}).problem(
                400, "invalid-request"
            )
