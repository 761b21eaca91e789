"""Environment of all tests: made-up AWS credentials, no endpoint, and the functions' variables."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest
from hypothesis import settings

from tests.clock import clock  # noqa: F401, a fixture
from tests.stacks import api, base_url, issuer, local_stack, token_stack  # noqa: F401, fixtures

REGION = "us-east-1"

for name in list(os.environ):
    if name == "AWS_PROFILE" or name.startswith(("AWS_ENDPOINT_URL", "POWERTOOLS_")):
        del os.environ[name]
# Set before any test module is imported: a handler reads its environment when it is imported, as in Lambda.
os.environ.update(
    {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        # From botocore 1.44.4 on, stream reads go to a host that moto does not answer.
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
        "POWERTOOLS_SERVICE_NAME": "tests",
        "CUSTOMERS_TABLE": "Customers",
        "CUSTOMERS_OUTBOX_TABLE": "CustomersOutbox",
        "CUSTOMERS_IDEMPOTENCY_TABLE": "CustomersIdempotency",
        "ORDERS_TABLE": "Orders",
        "ORDERS_OUTBOX_TABLE": "OrdersOutbox",
        "ORDERS_IDEMPOTENCY_TABLE": "OrdersIdempotency",
        "PENDING_ORDER_DEADLINE_SECONDS": "300",
        "EVENT_BUS_NAME": "customers-and-orders",
        "DEAD_LETTER_QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/123456789012/dead-letters",
        # No server listens on port 1: a test of the view names its own database.
        "MONGODB_URI": "mongodb://127.0.0.1:1/nowhere",
        "VERSION": "tests",
        # Not UTC, as on Lambda, so that a local time where UTC is meant is noticed.
        "TZ": "NPT-5:45",
    }
)
time.tzset()

# Machines differ in speed, so examples have no deadline. In CI, Hypothesis derandomizes itself.
settings.register_profile("tests", parent=settings(), deadline=None)
settings.load_profile("tests")


def end_with_children(*_: object) -> None:
    """End the processes of pytest-xdist, which end their stacks, and stop as after Ctrl-C."""
    for child in psutil.Process().children():
        child.terminate()
    raise KeyboardInterrupt


signal.signal(signal.SIGTERM, end_with_children)  # of a CI job that is ended

STACKS = ("token_stack", "production", "operated", "local_stack", "base_url", "api")
"""Fixtures that start a stack, or need the one before them."""


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process run all tests of a stack or of a file with stacks, and start with them: they take longest."""

    def stack_of(item: pytest.Item) -> str:
        if item.path.parent.name not in ("e2e", "ops", "browser"):
            return ""
        names = getattr(item, "fixturenames", ())
        found = next((name for name in STACKS if name in names), item.path.stem)
        return "local_stack" if found in ("base_url", "api") else found

    # The burst of test_local_stack.py is sent to a cold stack.
    items.sort(key=lambda item: (not stack_of(item), item.path.stem != "test_local_stack"))
    for item in items:
        if (stack := stack_of(item)) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(stack))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fail if pytest-xdist ignores the groups: each of its processes would start each stack."""
    if session.config.getoption("loadgroup", default=False):
        for item in session.items:
            in_group = any(item.iter_markers("xdist_group"))
            assert item.nodeid.rpartition("]")[2].count("@") == in_group, item.nodeid
