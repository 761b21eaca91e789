"""Each function's role, tried with its credentials: it allows its permissions and nothing else.

The emulator enforces the policies of deployed roles. Allowed requests change nothing: their condition never holds, or
the service refuses one of their values.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import boto3
from botocore.exceptions import ClientError

from infra.local.deployed_stack import REGION, STACK_NAME
from infra.local.stack import EmbeddedStack
from infra.ops.target import Target
from tests.permissions import PERMISSIONS
from tests.stacks import local_stack_only
from tests.template import resources

pytestmark = local_stack_only

OUTBOX_KEY = {"aggregateId": {"S": "1"}, "eventId": {"S": "1"}}
IDEMPOTENCY_KEY = {"idempotencyKey": {"S": "1"}}
TABLES = {
    "Customers": {"customerId": {"N": "1"}, "sk": {"S": "CUSTOMER"}},
    "CustomersOutbox": OUTBOX_KEY,
    "CustomersIdempotency": IDEMPOTENCY_KEY,
    "Orders": {"orderId": {"N": "1"}},
    "OrdersOutbox": OUTBOX_KEY,
    "OrdersIdempotency": IDEMPOTENCY_KEY,
}
NEVER = {"ConditionExpression": "attribute_exists(neverWritten)"}
TRIED = {"BatchGetItem", "DeleteItem", "GetItem", "PutItem", "Query", "Scan", "UpdateItem"}
TRIED |= {"DeleteMessage", "PutEvents", "ReceiveMessage", "SendMessage"}


def allowed_requests(client: Any, queues: dict[str, str]) -> set[str]:
    """Return the requests to tables, queues and the bus that are not denied, as in PERMISSIONS."""
    dynamodb, sqs, events = map(client, ("dynamodb", "sqs", "events"))
    requests: dict[str, partial[Any]] = {}
    for table, key in TABLES.items():
        named: Any = {"TableName": f"{STACK_NAME}-{table}"}
        attribute, value = next(iter(key.items()))
        query = {
            "KeyConditionExpression": "#key = :value",
            "ExpressionAttributeNames": {"#key": attribute},
            "ExpressionAttributeValues": {":value": value},
        }
        read: Any = {"RequestItems": {named["TableName"]: {"Keys": [key]}}}
        requests |= {
            f"GetItem {table}": partial(dynamodb.get_item, **named, Key=key),
            f"BatchGetItem {table}": partial(dynamodb.batch_get_item, **read),
            f"Scan {table}": partial(dynamodb.scan, **named, Limit=1),
            f"Query {table}": partial(dynamodb.query, **named, **query),
            f"PutItem {table}": partial(dynamodb.put_item, **named, Item=key, **NEVER),
            f"UpdateItem {table}": partial(dynamodb.update_item, **named, Key=key, **NEVER),
            f"DeleteItem {table}": partial(dynamodb.delete_item, **named, Key=key, **NEVER),
        }
    for table, index in (("Customers", "Listing"), ("Orders", "Waiting")):
        requests[f"Scan ${{{table}.Arn}}/index/{index}"] = partial(
            dynamodb.scan, TableName=f"{STACK_NAME}-{table}", IndexName=index, Limit=1
        )
    for queue, url in queues.items():
        late = {"MessageBody": "nothing", "DelaySeconds": 99_999}
        requests |= {
            f"SendMessage {queue}": partial(sqs.send_message, QueueUrl=url, **late),
            f"ReceiveMessage {queue}": partial(
                sqs.receive_message, QueueUrl=url, MaxNumberOfMessages=99
            ),
            f"DeleteMessage {queue}": partial(
                sqs.delete_message, QueueUrl=url, ReceiptHandle="none"
            ),
        }
    entry = {"EventBusName": STACK_NAME, "Source": "x", "DetailType": "x", "Detail": "{}"}
    requests["PutEvents EventBus"] = partial(events.put_events, Entries=[entry] * 11)
    return {name for name, request in requests.items() if is_allowed(request)}


def is_allowed(request: partial[Any]) -> bool:
    try:
        request()
    except ClientError as error:
        return "AccessDenied" not in error.response["Error"]["Code"]
    return True


def test_each_role_allows_the_permissions_of_its_function_only(local_stack: EmbeddedStack) -> None:
    target = Target.of("embedded", 0, local_stack.aws_endpoint_url, STACK_NAME)
    iam, sts, physical_ids = target.client("iam"), target.client("sts"), target.resources
    queues = {queue: physical_ids[queue] for queue in resources("AWS::SQS::Queue")}

    for function, properties in resources("AWS::Serverless::Function").items():
        role = physical_ids[properties["Role"]["Fn::GetAtt"][0]]
        arn = iam.get_role(RoleName=role)["Role"]["Arn"]
        given = sts.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        session = boto3.Session(
            given["AccessKeyId"],
            given["SecretAccessKey"],
            given["SessionToken"],
            region_name=REGION,
        )
        found = allowed_requests(replace(target, session=session).client, queues)

        permissions = {permission.partition(":")[2] for permission in PERMISSIONS[function]}
        assert found == {name for name in permissions if name.split(" ")[0] in TRIED}, function
