"""The production parameters, deployed as far as the emulator carries them: the saga must not notice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infra.api_client import ApiClient
from infra.deployed_stack import CLIENT_CONFIG, aws_session
from infra.embedded.stack import EmbeddedStack
from tests.e2e.test_saga import decided

pytestmark = pytest.mark.skipif(
    "E2E_BASE_URL" in os.environ, reason="has a stack of its own, and not the one at E2E_BASE_URL"
)
PRODUCTION = {"Posture": "production", "LogRetentionDays": "90", "AllowPublicApi": "yes"}


def test_the_saga_runs_on_protected_tables_behind_a_throttled_api(tmp_path: Path) -> None:
    with (
        EmbeddedStack.start(directory=tmp_path / "stack", parameters=PRODUCTION) as stack,
        ApiClient(stack.base_url) as api,
    ):
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

    assert (approved["orderState"], rejected["orderState"]) == ("APPROVED", "REJECTED")
    assert len(tables) == 4
    assert all(table["DeletionProtectionEnabled"] for table in tables)
