"""Run Schemathesis against an API and its OpenAPI document.

Valid requests must be accepted, others refused. They come from the examples, the boundaries of every schema, random
values, and sequences along the document's links.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis.core.failures import Failure, ServerError
from schemathesis.core.transport import Response
from schemathesis.engine import events, from_schema
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.specs.openapi.schemas import OpenApiSchema

from infra.local.api_client import ApiClient, wait_until

UNKNOWN_CUSTOMER = 9007199254740991

EXPECTED_REFUSALS = (
    "Invalid nextToken",
    "This Idempotency-Key was used before",
    "The view has version",
    "The search q needs",
)
"""Reasons to refuse a valid request: the start of the problem document's detail.

The form of a token is not documented, the fuzzer repeats keys, and it asks the view for versions that do not exist. No
schema describes the letters of all alphabets.
"""

CHECKS = {
    "unsupported_method": {"enabled": False},
    "allow_header_conformance": {"enabled": False},
    # A token is optional in the document. tests/integration/test_authorization.py covers tokens.
    "ignored_auth": {"enabled": False},
    "object_level_authorization": {"enabled": False},
    # The view follows an erasure with a short delay. tests/e2e/test_erasure.py covers it.
    "use_after_free": {"enabled": False},
    # The saga rejects an order of an unknown customer; the request succeeds.
    "ensure_resource_availability": {"enabled": False},
    # 409: the order is PENDING. 413: see MAX_BODY_BYTES.
    "negative_data_rejection": {
        "expected-statuses": ["400", "404", "409", "413", "415"],
    },
    "positive_data_acceptance": {"expected-statuses": ["2xx", "404", "409"]},
    "not_a_server_error": {"expected-statuses": ["2xx", "4xx"]},
}


@dataclass
class Outcome:
    """Requests, responses and findings."""

    cases: Counter[str] = field(default_factory=Counter)
    """Number of requests by operation."""
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    findings: dict[str, str] = field(default_factory=dict)
    """One finding for each operation and kind, with a way to reproduce it."""


def fuzz(
    base_url: str,
    document: dict[str, Any],
    *,
    examples: int,
    seconds: int,
    seed: int,
) -> Outcome:
    """Run Schemathesis with up to `examples` random requests per operation, for at most `seconds`."""
    config = schemathesis.Config.from_dict(
        {
            "seed": seed,
            "max-time": seconds,
            "base-url": base_url,
            "continue-on-failure": True,
            "request-timeout": 30,
            "headers": {"Prefer": "wait=0"},  # a request for a version that does not exist waits
            "generation": {"max-examples": examples, "database": "none"},
            "checks": CHECKS,
            # API Gateway refuses methods without a route.
            "phases": {"coverage": {"unexpected-methods": []}},
        }
    )
    schema: OpenApiSchema = schemathesis.openapi.from_dict(
        with_known_ids(document, base_url), config=config
    )
    schema.hook("filter_failure")(_is_finding)
    outcome = Outcome()
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                _record(outcome, event.recorder)
            case events.NonFatalError():
                outcome.findings["error of Schemathesis or of the document"] = str(event.value)
            case events.FatalError():
                outcome.findings["error of Schemathesis"] = str(event.exception)
    return outcome


def with_known_ids(document: dict[str, Any], base_url: str) -> dict[str, Any]:
    """Return the document with existing ids as examples: a customer, and one order in each final state.

    Most random ids lead to a 404, which tests little.
    """
    with ApiClient(base_url) as api:
        customer_id, erased_id = api.create_customer("Fuzz", 10), api.create_customer("Fuzz", 10)
        approved, cancelled = (api.create_order(customer_id, 4) for _ in range(2))
        rejected = api.create_order(UNKNOWN_CUSTOMER, 4)
        for order_id in (approved, cancelled, rejected):
            wait_until(
                lambda path=f"/orderhistory/orders/{order_id}": api.request("GET", path).text,  # type: ignore[misc]
                lambda text: any(state in text for state in ("APPROVED", "REJECTED")),
                deadline_seconds=60,
            )
        api.cancel_order(cancelled)
    known = {"orderId": [approved, cancelled, rejected]}
    document = copy.deepcopy(document)
    for methods in document["paths"].values():
        for method, operation in methods.items():
            known["customerId"] = [erased_id if method == "delete" else customer_id]
            for parameter in [*operation.get("parameters", [])]:
                if parameter["name"] == "Prefer":
                    operation["parameters"].remove(parameter)
                if parameter["in"] == "path":
                    parameter.pop("example", None)
                    parameter["examples"] = {
                        str(value): {"value": value} for value in known.get(parameter["name"], [])
                    }
    return document


def _is_finding(context: Any, failure: Failure, case: Any, response: Response) -> bool:
    if not isinstance(failure, RejectedPositiveData | ServerError):
        return True
    return not response.json().get("detail", "").startswith(EXPECTED_REFUSALS)


def _record(outcome: Outcome, recorder: Any) -> None:
    for case_id, node in recorder.cases.items():
        name = node.value.operation.label
        outcome.cases[name] += 1
        interaction = recorder.interactions.get(case_id)
        if interaction is not None and interaction.response is not None:
            counter = outcome.statuses.setdefault(name, Counter())
            counter[interaction.response.status_code] += 1
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                name = recorder.cases[case_id].value.operation.label
                info = check.failure_info
                outcome.findings.setdefault(
                    f"{name}: {info.failure.title}", f"{info.failure.message}\n{info.code_sample}"
                )
