"""The production section of samconfig.toml on the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import boto3
import pytest

from infra.local.api_client import ApiClient
from infra.local.deployed_stack import REGION, STACK_NAME, aws_session
from infra.local.stack import EmbeddedStack
from infra.local.warm_up import SignedByCaller
from infra.ops.target import Target
from tests.e2e.test_saga import decided
from tests.ops.conftest import Operated
from tests.stacks import local_stack_only
from tests.template import every_route, section

pytestmark = local_stack_only
PRODUCTION = {
    **section("prod"),
    "AlarmEmail": "on-call@example.com",
    "DeletionProtection": "on",
    "GradualDeployment": "off",  # the emulator has no CodeDeploy
    "OutboxRetentionDays": "30",
    "EventArchive": "on",  # on AWS
}
del PRODUCTION["MongoDbSecretName"]  # the emulator's MongoDB needs none
FORGER = boto3.Session("AKIAIOSFODNN7EXAMPLE", "guessed", region_name=REGION)


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    directory = tmp_path_factory.mktemp("stack")
    with EmbeddedStack.start(directory=directory, parameters=PRODUCTION) as stack:
        yield stack


def test_unsigned_and_forged_requests_return_403(production: EmbeddedStack) -> None:
    with (
        ApiClient(production.base_url) as stranger,
        ApiClient(production.base_url, auth=SignedByCaller(FORGER)) as forger,
    ):
        for path in ("/health", "/"):
            assert stranger.request("GET", path).status_code == 200, path
        for client in (stranger, forger):
            assert {client.request(*route).status_code for route in every_route()} == {403}


def test_events_expire_and_a_rebuild_says_so(production: EmbeddedStack) -> None:
    target = Target.of("embedded", 0, production.aws_endpoint_url, STACK_NAME)
    dynamodb = target.client("dynamodb")
    with ApiClient(production.base_url, auth=SignedByCaller(aws_session())) as api:
        order = decided(api, api.create_order(api.create_customer("Jane Doe", 5), 4))
        assert order["orderState"] == "APPROVED"
        for service in ("Customers", "Orders"):
            table = target.resource(f"{service}Outbox")
            items = dynamodb.scan(TableName=table)["Items"]
            for item in items:
                expiry = datetime.fromisoformat(item["occurredAt"]["S"]) + timedelta(days=30)
                assert item["expiresAt"] == {"N": str(int(expiry.timestamp()))}
            for item in items:  # as they expire
                key = {name: item[name] for name in ("aggregateId", "eventId")}
                dynamodb.delete_item(TableName=table, Key=key)
        decided(api, api.create_order(api.create_customer("Jane Doe", 5), 4))
        for service in ("Customers", "Orders"):
            group = target.resource(f"{service}OutboxRelayLogGroup")
            lines = str(target.client("logs").filter_log_events(logGroupName=group)["events"])
            assert "events published" in lines
            assert "not an outbox item" not in lines, "the relay was given a deletion"

        refused = Operated(production, api, target).run("rebuild-history", "--drop", "--yes")
        assert (refused.returncode, "PARTIAL=1" in refused.stderr) == (1, True), refused
