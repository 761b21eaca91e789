"""The tables of template.yaml on moto, and a MongoDB stand-in."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws
from pymongo import MongoClient

from customers.dynamodb import CustomerRepository
from infra.embedded.emulators import start_mongodb
from order_history.mongodb import Document, OrderHistoryView
from orders.dynamodb import OrderRepository
from tests.template import resources

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def dynamodb() -> Iterator[DynamoDBClient]:
    """Empty tables, called by their logical ids."""
    with mock_aws():
        client = boto3.client("dynamodb")
        create_tables(client)
        yield client


def create_tables(client: DynamoDBClient) -> None:
    for name, properties in resources("AWS::DynamoDB::Table").items():
        optional = {
            key: properties[key] for key in ("GlobalSecondaryIndexes",) if key in properties
        }
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=properties["AttributeDefinitions"],
            KeySchema=properties["KeySchema"],
            **optional,
        )


@pytest.fixture
def customers(dynamodb: DynamoDBClient) -> CustomerRepository:
    return CustomerRepository("Customers", "CustomersOutbox")


@pytest.fixture
def orders(dynamodb: DynamoDBClient) -> OrderRepository:
    return OrderRepository("Orders", "OrdersOutbox")
