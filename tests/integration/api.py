"""Requests as API Gateway makes them, and the answers that clients get."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.integration.conftest import LambdaContext
from tests.openapi import assert_documented
from tests.samples import load


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body, its numbers exactly as they were written."""
        return json.loads(self.text, parse_float=Decimal)

    def problem(self, status: int, kind: str) -> dict[str, Any]:
        """Assert that the answer is a problem document (RFC 9457) of this kind. Return it."""
        assert self.status == status, self.text
        assert self.headers["Content-Type"] == "application/problem+json"
        document: dict[str, Any] = self.json
        assert document["type"] == f"urn:customers-and-orders:problem:{kind}"
        assert document["status"] == status
        assert document["title"]
        assert document["detail"]
        return document


def request(
    sample: str,
    *,
    body: object = ...,
    headers: Mapping[str, str | None] | None = None,
    path_parameters: Mapping[str, object] | None = None,
    query: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Return the event in events/, changed. A body that is no text becomes JSON. A header that is None is removed."""
    event = copy.deepcopy(load(sample))
    if body is not ...:
        event["body"] = body if body is None or isinstance(body, str) else json.dumps(body)
    for name, value in (headers or {}).items():
        for known in [known for known in event["headers"] if known.lower() == name.lower()]:
            del event["headers"][known]
        if value is not None:
            event["headers"][name] = value
    event["multiValueHeaders"] = {name: [value] for name, value in event["headers"].items()}
    if path_parameters is not None:
        event["pathParameters"] = {name: str(value) for name, value in path_parameters.items()}
        event["path"] = event["resource"].format(**path_parameters)
    if query is not None:
        event["queryStringParameters"] = {name: str(value) for name, value in query.items()}
        event["multiValueQueryStringParameters"] = {n: [str(v)] for n, v in query.items()}
    return event


def answer(handler: Any, event: dict[str, Any]) -> Answer:
    """Return the answer of the function in the module `handler`. Assert that it is documented."""
    response = handler.lambda_handler(event, LambdaContext())
    if "problem:no-such-route" not in response["body"]:
        assert_documented(event["httpMethod"], event["resource"], response)
    assert response["isBase64Encoded"] is False
    headers = {name: values[-1] for name, values in response["multiValueHeaders"].items()}
    assert headers["X-Correlation-Id"] == event["requestContext"]["requestId"]
    return Answer(response["statusCode"], headers, response["body"])


def send(handler: Any, sample: str, **changes: Any) -> Answer:
    """Return the function's answer to the event in events/, changed."""
    return answer(handler, request(sample, **changes))


def pages(handler: Any, sample: str, field: str, query: Mapping[str, object]) -> list[list[Any]]:
    """Return the items in the field of each page."""
    found, following = [], dict(query)
    while True:
        page = send(handler, sample, query=following).json
        found.append(list(page[field]))
        if page["nextToken"] is None:
            return found
        following["nextToken"] = page["nextToken"]
