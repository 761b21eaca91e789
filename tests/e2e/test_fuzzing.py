"""The short form of `make fuzz`: requests generated from the OpenAPI document."""

from __future__ import annotations

import copy

import pytest

from tests.fuzz.fuzzing import fuzz
from tests.openapi import DOCUMENT

pytestmark = pytest.mark.timeout(240)  # seconds, which may include the start of the stack


def test_every_response_is_documented(base_url: str) -> None:
    outcome = fuzz(base_url, DOCUMENT, examples=10, seconds=25, seed=4)

    assert outcome.findings == {}
    assert set(outcome.cases) == {
        f"{method.upper()} {path}" for path, ops in DOCUMENT["paths"].items() for method in ops
    }
    assert outcome.cases.total() > 100
    assert all(a[200] or a[204] for a in outcome.statuses.values()), outcome.statuses


def test_undocumented_response_is_found(base_url: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    count = document["paths"]["/customers/count"]["get"]
    document["paths"] = {"/customers/count": {"get": count}}
    count["responses"]["200"]["content"]["application/json"]["schema"] = {"type": "string"}

    outcome = fuzz(base_url, document, examples=1, seconds=10, seed=4)

    assert list(outcome.findings) == ["GET /customers/count: Response violates schema"]
