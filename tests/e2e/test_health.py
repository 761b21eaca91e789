"""The state of the parts, over HTTP, with the role that the function has."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from infra.local.api_client import ApiClient, wait_until
from infra.local.processes import stop
from infra.local.stack import EmbeddedStack
from tests.e2e.test_saga import DEADLINE_SECONDS


def test_all_parts_are_up(api: ApiClient) -> None:
    answer = api.request("GET", "/health")

    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    health = answer.json()
    assert health["status"] == "up"
    assert health["version"]
    assert health["parts"] == {"customers": "up", "orders": "up", "orderHistory": "up"}


@pytest.mark.skipif(
    "E2E_BASE_URL" in os.environ, reason="has a stack of its own, and not the one at E2E_BASE_URL"
)
def test_a_database_that_is_gone_is_told_of_and_takes_nothing_else_with_it(tmp_path: Path) -> None:
    with (
        EmbeddedStack.start(directory=tmp_path / "stack") as stack,
        ApiClient(stack.base_url) as api,
    ):
        stop(process for process in stack.processes if process.name != "MiniStack")

        answer = wait_until(
            lambda: api.request("GET", "/health"),
            lambda response: response.status_code == 503,
            DEADLINE_SECONDS,
        )
        started = time.monotonic()
        again = api.request("GET", "/health")

        assert time.monotonic() - started < 5
        assert again.status_code == 503
        assert answer.json()["parts"] == {
            "customers": "up",
            "orders": "up",
            "orderHistory": "down",
        }
        assert "127.0.0.1" not in answer.text
