"""A customer is erased: over HTTP on any stack; in the raw tables and in the view on the local one."""

from __future__ import annotations

import json
from typing import Any

from pymongo import MongoClient

from infra.local.api_client import ApiClient, wait_until
from infra.local.deployed_stack import CLIENT_CONFIG, STACK_NAME, aws_session
from infra.local.stack import EmbeddedStack
from tests.e2e.test_saga import DEADLINE_SECONDS, decided, history_with
from tests.stacks import local_stack_only
from tests.template import resources

NAME = "Markedname Erasable"


def status(api: ApiClient, path: str) -> int:
    return api.request("GET", path).status_code


def erased_customer(api: ApiClient) -> tuple[int, int]:
    """Erase a customer with an approved order, once both are in the view. Return the ids of both."""
    customer_id = api.create_customer(NAME, 10)
    order_id = api.create_order(customer_id, 4)
    decided(api, order_id)
    history_with(api, customer_id, {order_id: "APPROVED"})
    api.erase_customer(customer_id)
    history = f"/customers/{customer_id}/orderhistory"
    wait_until(lambda: status(api, history), lambda found: found == 404, DEADLINE_SECONDS)
    return customer_id, order_id


def test_erased_customer_is_gone_and_its_orders_stay(api: ApiClient) -> None:
    customer_id, order_id = erased_customer(api)

    api.erase_customer(customer_id)  # again
    assert api.request("DELETE", "/customers/123").status_code == 404
    assert status(api, f"/customers/{customer_id}") == 404
    assert customer_id not in {customer["customerId"] for customer in api.customers()}
    listed = len(list(api.customers()))
    wait_until(
        lambda: int(api.request("GET", "/customers/count").text),
        lambda counted: counted == listed,
        DEADLINE_SECONDS,
    )
    refused = decided(api, api.create_order(customer_id, 1))
    assert (refused["orderState"], refused["rejectionReason"]) == ("REJECTED", "CUSTOMER_ERASED")
    assert api.cancel_order(order_id)["orderState"] == "CANCELLED"
    wait_until(
        lambda: api.request("GET", f"/orderhistory/orders/{order_id}/events").text,
        lambda events: "CustomerCreditReleased" in events,
        DEADLINE_SECONDS,
    )
    assert status(api, f"/customers/{customer_id}/orderhistory") == 404
    hits = api.request("GET", f"/orderhistory/search?q={customer_id}").json()["hits"]
    assert order_id in {hit["orderId"] for hit in hits}
    assert {hit["customerName"] for hit in hits} == {None}


@local_stack_only
def test_name_is_nowhere_in_the_tables_the_view_and_the_rebuilt_view(
    local_stack: EmbeddedStack,
) -> None:
    client: Any = aws_session().client
    dynamodb, functions = (
        client(name, endpoint_url=local_stack.aws_endpoint_url, config=CLIENT_CONFIG)
        for name in ("dynamodb", "lambda")
    )

    def stored() -> str:
        with MongoClient[dict[str, Any]](local_stack.mongodb_uri) as mongodb:
            database = mongodb.get_default_database()
            view = {name: list(database[name].find()) for name in database.list_collection_names()}
        pages = [
            page["Items"]
            for table in resources("AWS::DynamoDB::Table")
            for page in dynamodb.get_paginator("scan").paginate(TableName=f"{STACK_NAME}-{table}")
        ]
        return str((view, pages))

    def rebuild(**command: object) -> None:
        name = f"{STACK_NAME}-order-history-rebuild"
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(command))
        assert "FunctionError" not in answer, answer["Payload"].read()

    with ApiClient(local_stack.base_url) as api:
        customer_id, _ = erased_customer(api)
        assert str(customer_id) in stored()
        assert not any(word in stored().lower() for word in NAME.lower().split())

        for command in ({"command": "drop"}, {"command": "begin", "segments": 1}):
            rebuild(**command)
        for part in ("Customers 1/1", "Orders 1/1"):
            rebuild(command="advance", part=part, seconds=30)
        rebuild(command="end")

        assert str(customer_id) in stored()
        assert not any(word in stored().lower() for word in NAME.lower().split())
        assert status(api, f"/customers/{customer_id}/orderhistory") == 404
