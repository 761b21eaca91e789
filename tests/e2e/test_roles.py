"""Each role, tried with its own credentials: its permissions are enough and no more.

The emulator enforces the policies of deployed roles. No request changes anything even where it is allowed: its
condition never holds, or the service refuses one of its values.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.local.deployed_stack import CLIENT_CONFIG, REGION, STACK_NAME, aws_session
from infra.local.stack import EmbeddedStack
from tests.permissions import PERMISSIONS
from tests.template import resources

pytestmark = pytest.mark.skipif(
    "E2E_BASE_URL" in os.environ, reason="other emulators do not enforce IAM"
)

TABLES = {
    "Customers": {"customerId": {"N": "1"}, "sk": {"S": "CUSTOMER"}},
    "CustomersOutbox": {"aggregateId": {"S": "1"}, "eventId": {"S": "1"}},
    "Orders": {"orderId": {"N": "1"}},
    "OrdersOutbox": {"aggregateId": {"S": "1"}, "eventId": {"S": "1"}},
    "CustomersIdempotency": {"idempotencyKey": {"S": "1"}},
    "OrdersIdempotency": {"idempotencyKey": {"S": "1"}},
}
QUEUES = tuple(resources("AWS::SQS::Queue"))
FUNCTIONS = tuple(resources("AWS::Serverless::Function"))
NEVER = {"ConditionExpression": "attribute_exists(neverWritten)"}

TRIED = {"BatchGetItem", "DeleteItem", "GetItem", "PutItem", "Query", "Scan", "UpdateItem"}
TRIED |= {"DeleteMessage", "PutEvents", "ReceiveMessage", "SendMessage"}


@dataclass(frozen=True)
class Caller:
    """A caller with the role that has this logical id."""

    stack: EmbeddedStack
    role: str

    def may(self) -> set[str]:
        """Return the requests to tables, queues and the bus that are not denied."""
        return {name for name, request in self._requests().items() if _is_allowed(request)}

    def _requests(self) -> dict[str, Callable[[], Any]]:
        requests: dict[str, Callable[[], Any]] = {}
        dynamodb = self._client("dynamodb")
        for table, key in TABLES.items():
            name = f"{STACK_NAME}-{table}"
            requests |= {
                f"GetItem {table}": _call(dynamodb.get_item, TableName=name, Key=key),
                f"BatchGetItem {table}": _call(
                    dynamodb.batch_get_item, RequestItems={name: {"Keys": [key]}}
                ),
                f"Scan {table}": _call(dynamodb.scan, TableName=name, Limit=1),
                f"Query {table}": _call(dynamodb.query, TableName=name, **_query(key)),
                f"PutItem {table}": _call(dynamodb.put_item, TableName=name, Item=key, **NEVER),
                f"UpdateItem {table}": _call(
                    dynamodb.update_item, TableName=name, Key=key, **NEVER
                ),
                f"DeleteItem {table}": _call(
                    dynamodb.delete_item, TableName=name, Key=key, **NEVER
                ),
            }
        requests["Scan ${Customers.Arn}/index/Listing"] = _call(
            dynamodb.scan, TableName=f"{STACK_NAME}-Customers", IndexName="Listing", Limit=1
        )
        sqs = self._client("sqs")
        for queue, url in self._queue_urls.items():
            requests |= {
                f"SendMessage {queue}": _call(
                    sqs.send_message, QueueUrl=url, MessageBody="nothing", DelaySeconds=99_999
                ),
                f"ReceiveMessage {queue}": _call(
                    sqs.receive_message, QueueUrl=url, MaxNumberOfMessages=99
                ),
                f"DeleteMessage {queue}": _call(
                    sqs.delete_message, QueueUrl=url, ReceiptHandle="none"
                ),
            }
        entry = {"EventBusName": STACK_NAME, "Source": "x", "DetailType": "x", "Detail": "{}"}
        requests["PutEvents EventBus"] = _call(
            self._client("events").put_events, Entries=[entry] * 11
        )
        return requests

    @cached_property
    def _queue_urls(self) -> dict[str, str]:
        return {queue: self._physical_ids[queue] for queue in QUEUES}

    @cached_property
    def _physical_ids(self) -> dict[str, str]:
        pages = self.stack.deployment.stack.cloudformation.get_paginator("list_stack_resources")
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for page in pages.paginate(StackName=STACK_NAME)
            for resource in page["StackResourceSummaries"]
        }

    def _client(self, service: Any) -> Any:
        return self._session.client(
            service, endpoint_url=self.stack.aws_endpoint_url, config=CLIENT_CONFIG
        )

    @cached_property
    def _session(self) -> boto3.Session:
        where: Any = {"endpoint_url": self.stack.aws_endpoint_url, "config": CLIENT_CONFIG}
        iam = aws_session().client("iam", **where)
        arn = iam.get_role(RoleName=self._physical_ids[self.role])["Role"]["Arn"]
        sts = aws_session().client("sts", **where)
        given = sts.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        return boto3.Session(
            given["AccessKeyId"],
            given["SecretAccessKey"],
            given["SessionToken"],
            region_name=REGION,
        )


def _call(operation: Callable[..., Any], **arguments: Any) -> Callable[[], Any]:
    return lambda: operation(**arguments)


def _query(key: dict[str, Any]) -> dict[str, Any]:
    name, value = next(iter(key.items()))
    return {
        "KeyConditionExpression": "#key = :value",
        "ExpressionAttributeNames": {"#key": name},
        "ExpressionAttributeValues": {":value": value},
    }


def _is_allowed(request: Callable[[], Any]) -> bool:
    try:
        request()
    except ClientError as error:
        return "AccessDenied" not in error.response["Error"]["Code"]
    return True


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_its_permissions_and_is_denied_everything_else(
    embedded_stack: EmbeddedStack, function: str
) -> None:
    role = resources("AWS::Serverless::Function")[function]["Role"]["Fn::GetAtt"][0]
    allowed = {permission.partition(":")[2] for permission in PERMISSIONS[function]}

    expected = {permission for permission in allowed if permission.split(" ")[0] in TRIED}
    assert Caller(embedded_stack, role).may() == expected
