"""A stack on moto for the operator's commands: queues, tables and log groups, no functions."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from infra.ops.__main__ import main
from infra.ops.target import Target

KEYS = {
    "Orders": (("orderId", "N"),),
    "CustomersOutbox": (("aggregateId", "S"), ("eventId", "S")),
    "OrdersOutbox": (("aggregateId", "S"), ("eventId", "S")),
}
QUEUES = {
    "OrdersSubscriberQueue": "orders-subscriber",
    "OrdersSubscriberDeadLetterQueue": "orders-subscriber-dead-letters",
    "OrdersOutboxRelayDeadLetterQueue": "orders-outbox-relay-dead-letters",
}
HOSTILE = "\x1b]0;owned\x07\x1b[2J[/b][red]\u202e\u2028\r\n\x9b31m"
"""A title, a cleared screen, markup, reversed text, line breaks, and a control sequence of one byte."""


def _template() -> str:
    resources: dict[str, Any] = {
        name: {
            "Type": "AWS::SQS::Queue",
            "Properties": {"QueueName": {"Fn::Sub": f"${{AWS::StackName}}-{queue}"}},
        }
        for name, queue in QUEUES.items()
    }
    for name, keys in KEYS.items():
        types = [{"AttributeName": key, "AttributeType": kind} for key, kind in keys]
        schema = [
            {"AttributeName": key, "KeyType": role}
            for (key, _), role in zip(keys, ("HASH", "RANGE"), strict=False)
        ]
        properties = {
            "AttributeDefinitions": types,
            "KeySchema": schema,
            "BillingMode": "PAY_PER_REQUEST",
        }
        resources[name] = {"Type": "AWS::DynamoDB::Table", "Properties": properties}
    group = {"LogGroupName": {"Fn::Sub": "/aws/lambda/${AWS::StackName}-orders-subscriber"}}
    resources["OrdersSubscriberLogGroup"] = {"Type": "AWS::Logs::LogGroup", "Properties": group}
    return json.dumps({"Resources": resources})


@dataclass
class OpsStack:
    """The stack, and the commands as their user runs them."""

    target: Target
    capture: pytest.CaptureFixture[str]

    @classmethod
    def deploy(cls, name: str, capture: pytest.CaptureFixture[str]) -> OpsStack:
        boto3.client("cloudformation").create_stack(StackName=name, TemplateBody=_template())
        return cls(Target("embedded", boto3.Session(), stack_name=name), capture)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run the command; return its exit code and all that it printed."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["infra.ops", *arguments])
            patch.setattr(Target, "of", lambda *_: self.target)
            patch.setattr("infra.ops.__main__.signal.signal", lambda *_: None)
            code: Any = 0
            try:
                main()
            except SystemExit as end:
                code = end.code
        printed = self.capture.readouterr()
        return int(code or 0), printed.out + printed.err

    @property
    def sqs(self) -> Any:
        return self.target.sqs

    def put(self, queue: str, body: object, **attributes: str) -> str:
        """Send a message to the queue with the logical id; return its id."""
        values = {n: {"DataType": "String", "StringValue": v} for n, v in attributes.items()}
        answer = self.sqs.send_message(
            QueueUrl=self.target.queue_url(queue),
            MessageBody=body if isinstance(body, str) else json.dumps(body),
            MessageAttributes=values,
        )
        return str(answer["MessageId"])

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """Receive all visible messages of the queue, and leave them visible."""
        url, found = self.target.queue_url(queue), []
        while received := self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            found += received
        for message in found:
            self.sqs.change_message_visibility(
                QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )
        return found

    def bodies(self, queue: str) -> list[str]:
        """Return the bodies of all visible messages of the queue."""
        return sorted(message["Body"] for message in self.messages(queue))

    def take(self, queue: str) -> tuple[str, dict[str, str]]:
        """Delete the only message of the queue; return its body and its attributes."""
        (message,) = self.messages(queue)
        url = self.target.queue_url(queue)
        self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        attributes = message["MessageAttributes"]
        return message["Body"], {name: value["StringValue"] for name, value in attributes.items()}
