"""Requests made from the OpenAPI document: `make fuzz` in short."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.fuzz.fuzzing import fuzz
from tests.template import ROOT

DOCUMENT: dict[str, Any] = json.loads((ROOT / "functions/console/static/openapi.json").read_text())

pytestmark = pytest.mark.timeout(240)  # seconds; starting the stack may be a part of it


def test_every_answer_is_as_documented(base_url: str) -> None:
    outcome = fuzz(base_url, DOCUMENT, examples=10, seconds=25, seed=4)

    assert outcome.findings == {}
    operations = {
        f"{method.upper()} {path}" for path, ops in DOCUMENT["paths"].items() for method in ops
    }
    assert set(outcome.cases) == operations
    assert outcome.cases.total() > 100
    assert all(answers[200] for answers in outcome.statuses.values()), outcome.statuses


def test_an_answer_that_is_not_as_documented_is_found(base_url: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    count = document["paths"]["/customers/count"]["get"]
    document["paths"] = {"/customers/count": {"get": count}}
    count["responses"]["200"]["content"]["application/json"]["schema"] = {"type": "string"}

    outcome = fuzz(base_url, document, examples=1, seconds=10, seed=4)

    assert list(outcome.findings) == ["GET /customers/count: Response violates schema"]
