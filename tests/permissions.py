"""The permissions of each function's role, beside writing its own log."""

from __future__ import annotations


def _subscriber(name: str) -> set[str]:
    actions = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
    return {f"sqs:{a} {name}Queue" for a in actions} | {f"sqs:SendMessage {name}DeadLetterQueue"}


def _relay(service: str) -> set[str]:
    stream = ("DescribeStream", "GetRecords", "GetShardIterator")
    return {
        *(f"dynamodb:{action} {service}Outbox" for action in stream),
        f"dynamodb:ListStreams ${{{service}Outbox.Arn}}/stream/*",
        "events:PutEvents EventBus",
        f"sqs:SendMessage {service}OutboxRelayDeadLetterQueue",
    }


PERMISSIONS = {
    "CustomersApiFunction": {
        "dynamodb:BatchGetItem Customers",
        "dynamodb:GetItem Customers",
        "dynamodb:PutItem Customers",
        "dynamodb:Scan ${Customers.Arn}/index/Listing",
        "dynamodb:PutItem CustomersOutbox",
        "dynamodb:Query CustomersOutbox",
        "dynamodb:PutItem CustomersIdempotency",
    },
    "CustomersSubscriberFunction": {
        "dynamodb:BatchGetItem Customers",
        "dynamodb:PutItem Customers",
        "dynamodb:DeleteItem Customers",
        "dynamodb:PutItem CustomersOutbox",
        *_subscriber("CustomersSubscriber"),
    },
    "CustomersOutboxRelayFunction": _relay("Customers"),
    "OrdersApiFunction": {
        "dynamodb:GetItem Orders",
        "dynamodb:PutItem Orders",
        "dynamodb:Scan Orders",
        "dynamodb:PutItem OrdersOutbox",
        "dynamodb:PutItem OrdersIdempotency",
    },
    "OrdersSubscriberFunction": {
        "dynamodb:BatchGetItem Orders",
        "dynamodb:PutItem Orders",
        "dynamodb:PutItem OrdersOutbox",
        *_subscriber("OrdersSubscriber"),
    },
    "OrdersDeadlineFunction": {
        "dynamodb:Scan ${Orders.Arn}/index/Waiting",
        "dynamodb:GetItem Orders",
        "dynamodb:PutItem Orders",
        "dynamodb:Query OrdersOutbox",
        "dynamodb:GetItem CustomersOutbox",
        "events:PutEvents EventBus",
        "sqs:SendMessage OrdersOutboxRelayDeadLetterQueue",
    },
    "OrdersOutboxRelayFunction": _relay("Orders"),
    "OrderHistoryApiFunction": set(),
    "OrderHistoryProjectionFunction": _subscriber("OrderHistoryProjection"),
    "OrderHistoryRebuildFunction": {"dynamodb:Scan CustomersOutbox", "dynamodb:Scan OrdersOutbox"},
    "HealthFunction": {
        f"dynamodb:DescribeTable {table}"
        for table in ("Customers", "CustomersOutbox", "Orders", "OrdersOutbox")
    },
    "ConsoleFunction": set(),
}
