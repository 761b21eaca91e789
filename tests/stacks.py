"""Fixtures that share running stacks in a session. Each stack has free ports, so sessions may run side by side.

tests/conftest.py imports them. A test that stops or damages its stack starts one of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import psutil
import pytest

from infra.local.api_client import ApiClient
from infra.local.stack import EmbeddedStack
from tests.issuer import Issuer

local_stack_only = pytest.mark.skipif(
    "E2E_BASE_URL" in os.environ, reason="needs a local stack, not the API at E2E_BASE_URL"
)


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """Run a stack, and check that its functions' processes end with it."""
    with EmbeddedStack.start(directory=tmp_path_factory.mktemp("stack")) as stack:
        yield stack
        left = workers(stack)
        assert left
    assert still_running(left) == []


def still_running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those of the processes that do not end. A zombie has ended, and is left until init reaps it."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def workers(stack: EmbeddedStack) -> list[psutil.Process]:
    return psutil.Process(stack.processes[0].pid).children(recursive=True)


@pytest.fixture(scope="session")
def base_url(request: pytest.FixtureRequest) -> str:
    """Return E2E_BASE_URL, or start the local stack."""
    if url := os.environ.get("E2E_BASE_URL"):
        return url.rstrip("/")
    stack: EmbeddedStack = request.getfixturevalue("local_stack")
    return stack.base_url


@pytest.fixture(scope="session")
def api(base_url: str) -> Iterator[ApiClient]:
    with ApiClient(base_url) as client:
        yield client


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    with Issuer.running() as issuer:
        yield issuer


@pytest.fixture(scope="session")
def token_stack(
    issuer: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedStack]:
    """Start a local stack that accepts the issuer's tokens only."""
    directory = tmp_path_factory.mktemp("stack")
    with EmbeddedStack.start(directory=directory, parameters={"JwtIssuer": issuer.url}) as stack:
        yield stack
