"""The queues, tables and log groups of template.yaml on moto for the operator's commands, no functions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from infra.ops import __main__ as ops
from infra.ops.target import Target
from tests.commands import run_here
from tests.template import DEVELOPMENT

KINDS = {"AWS::DynamoDB::Table", "AWS::Logs::LogGroup", "AWS::SQS::Queue"}


@dataclass
class OpsStack:
    """The stack, and the commands as their user runs them."""

    target: Target

    def deploy(self) -> OpsStack:
        found = DEVELOPMENT.all_resources.items()
        template = {"Resources": {name: r for name, r in found if r["Type"] in KINDS}}
        self.target.client("cloudformation").create_stack(
            StackName=self.target.stack_name, TemplateBody=json.dumps(template)
        )
        return self

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run the command; return its exit code and all that it printed."""
        with patch.object(Target, "of", lambda *_: self.target):
            done = run_here(ops, *arguments)
        return done.returncode, done.stdout + done.stderr

    def put_item(self, table: str, **attributes: Any) -> None:
        """Put an item of strings and numbers, or of attributes in DynamoDB's JSON."""
        item = {
            name: value
            if isinstance(value, dict)
            else {"N" if type(value) is int else "S": str(value)}
            for name, value in attributes.items()
        }
        self.target.client("dynamodb").put_item(TableName=self.target.resource(table), Item=item)

    def log(self, group: str, line: object) -> None:
        """Write a line to the log group with the logical id."""
        name = {"logGroupName": self.target.resource(group), "logStreamName": str(uuid4())}
        logs = self.target.client("logs")
        logs.create_log_stream(**name)
        logs.put_log_events(
            **name, logEvents=[{"timestamp": int(time.time() * 1000), "message": json.dumps(line)}]
        )

    def put(self, queue: str, body: object, **attributes: str) -> str:
        """Send a message to the queue with the logical id; return its id."""
        values = {n: {"DataType": "String", "StringValue": v} for n, v in attributes.items()}
        answer = self.target.sqs.send_message(
            QueueUrl=self.target.queue_url(queue),
            MessageBody=body if isinstance(body, str) else json.dumps(body),
            MessageAttributes=values,
        )
        return str(answer["MessageId"])

    def bodies(self, queue: str) -> list[str]:
        """Return the bodies of all visible messages of the queue, and leave them visible."""
        url, found = self.target.queue_url(queue), list[Any]()
        request = {"QueueUrl": url, "MaxNumberOfMessages": 10}
        while received := self.target.sqs.receive_message(**request).get("Messages"):
            found += received
        for message in found:
            handle = message["ReceiptHandle"]
            self.target.sqs.change_message_visibility(
                QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0
            )
        return sorted(message["Body"] for message in found)

    def take(self, queue: str) -> tuple[str, dict[str, str]]:
        """Delete the only message of the queue; return its body and its attributes."""
        url = self.target.queue_url(queue)
        (message,) = self.target.sqs.receive_message(
            QueueUrl=url, MessageAttributeNames=["All"], MaxNumberOfMessages=10
        )["Messages"]
        self.target.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        attributes = message["MessageAttributes"]
        return message["Body"], {name: value["StringValue"] for name, value in attributes.items()}


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpsStack]:
    monkeypatch.setattr("infra.ops.dead_letters.LONG_POLL_SECONDS", 0)
    with mock_aws():
        yield OpsStack(Target("embedded", boto3.Session(), stack_name="shop")).deploy()
