"""The API under test: the one at E2E_BASE_URL, or an embedded stack started for this run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from infra.local.api_client import ApiClient
from infra.local.stack import EmbeddedStack


@pytest.fixture(scope="session")
def embedded_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    with EmbeddedStack.start(directory=tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="session")
def base_url(request: pytest.FixtureRequest) -> str:
    if url := os.environ.get("E2E_BASE_URL"):
        return url.rstrip("/")
    stack: EmbeddedStack = request.getfixturevalue("embedded_stack")
    return stack.base_url


@pytest.fixture(scope="session")
def api(base_url: str) -> Iterator[ApiClient]:
    with ApiClient(base_url) as client:
        yield client
