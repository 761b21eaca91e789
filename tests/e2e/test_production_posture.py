"""The production section of samconfig.toml on the emulator."""

from __future__ import annotations

import os
from pathlib import Path

import boto3
import pytest

from infra.local.api_client import ApiClient
from infra.local.deployed_stack import CLIENT_CONFIG, REGION, SignedByCaller, aws_session
from infra.local.stack import EmbeddedStack
from tests.e2e.test_saga import decided
from tests.template import every_route, section

pytestmark = pytest.mark.skipif(
    "E2E_BASE_URL" in os.environ, reason="has a stack of its own, and not the one at E2E_BASE_URL"
)
ON_AWS_ONLY = {"MongoDbSecretName"}
PRODUCTION = {
    **{name: value for name, value in section("prod").items() if name not in ON_AWS_ONLY},
    "AlarmEmail": "on-call@example.com",
    "DeletionProtection": "on",
    "GradualDeployment": "off",  # the emulator has no CodeDeploy
}
FORGER = boto3.Session("AKIAIOSFODNN7EXAMPLE", "guessed", region_name=REGION)


def test_the_saga_runs_on_protected_tables_behind_an_api_that_asks_who_calls(
    tmp_path: Path,
) -> None:
    with (
        EmbeddedStack.start(directory=tmp_path / "stack", parameters=PRODUCTION) as stack,
        ApiClient(stack.base_url, auth=SignedByCaller(aws_session())) as api,
        ApiClient(stack.base_url) as stranger,
        ApiClient(stack.base_url, auth=SignedByCaller(FORGER)) as forger,
    ):
        open_to_all = [stranger.request("GET", path).status_code for path in ("/health", "/")]
        unsigned = [stranger.request(*route).status_code for route in every_route()]
        forged = [forger.request(*route).status_code for route in every_route()]
        customer_id = api.create_customer("Jane Doe", 5)
        approved = decided(api, api.create_order(customer_id, 4))
        rejected = decided(api, api.create_order(customer_id, 4))
        dynamodb = aws_session().client(
            "dynamodb", endpoint_url=stack.aws_endpoint_url, config=CLIENT_CONFIG
        )
        tables = [
            dynamodb.describe_table(TableName=name)["Table"]
            for name in dynamodb.list_tables()["TableNames"]
        ]
        cloudwatch = aws_session().client(
            "cloudwatch", endpoint_url=stack.aws_endpoint_url, config=CLIENT_CONFIG
        )
        alarms = cloudwatch.describe_alarms()["MetricAlarms"]
        dashboards = cloudwatch.list_dashboards()["DashboardEntries"]

    assert open_to_all == [200, 200]
    assert unsigned == forged == [403] * len(every_route())
    assert (approved["orderState"], rejected["orderState"]) == ("APPROVED", "REJECTED")
    assert len(tables) == 6
    assert all(table["DeletionProtectionEnabled"] for table in tables)
    assert {alarm["AlarmName"] for alarm in alarms} >= {
        "customers-and-orders-orders-subscriber-dead-letters",
        "customers-and-orders-saga-duration",
        "customers-and-orders-api-server-errors",
    }
    assert all(alarm["AlarmActions"] for alarm in alarms)
    assert [dashboard["DashboardName"] for dashboard in dashboards] == ["customers-and-orders"]
