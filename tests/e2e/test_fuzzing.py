"""The short form of `make fuzz`: requests generated from the OpenAPI document."""

from __future__ import annotations

import copy

import pytest

from tests.fuzz.fuzzing import fuzz
from tests.openapi import DOCUMENT

pytestmark = pytest.mark.timeout(240)  # seconds, which may include the start of the stack


def test_every_response_is_documented(base_url: str) -> None:
    # Not limited by time: on a busy machine, the run would end before each operation was tested.
    done = fuzz(base_url, DOCUMENT, "--max-examples", "10", "--seed", "4", capture_output=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Tested: {sum(map(len, DOCUMENT['paths'].values()))}" in done.stdout


def test_undocumented_response_is_found(base_url: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    count = document["paths"]["/customers/count"]["get"]
    document["paths"] = {"/customers/count": {"get": count}}
    count["responses"]["200"]["content"]["application/json"]["schema"] = {"type": "string"}

    done = fuzz(base_url, document, "--max-examples", "1", capture_output=True)

    assert (done.returncode, "Response violates schema" in done.stdout) == (1, True), done.stdout
