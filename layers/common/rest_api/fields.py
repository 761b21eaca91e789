"""Types of the fields in requests and responses."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from aws_lambda_powertools.event_handler.openapi.params import Header, Path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

from shared.identifiers import MAX_ID
from shared.money import MAX_CENTS, Money


class WireModel(BaseModel):
    """A response or a part of one: snake_case in Python, camelCase in JSON."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        from_attributes=True,
    )


class RequestModel(WireModel):
    """A request or a part of one. Reject unknown fields instead of ignoring them."""

    model_config = ConfigDict(validate_by_name=False, from_attributes=False, extra="forbid")


# Money


def _amount_schema(minimum_cents: int) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "type": "number",
            "minimum": minimum_cents / 100,
            "maximum": MAX_CENTS / 100,
            "multipleOf": 0.01,
        }
    )


def _amount(minimum_cents: int) -> Any:
    minimum, maximum = Decimal(minimum_cents) / 100, Decimal(MAX_CENTS) / 100

    def check(value: object) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise ValueError("must be a number")  # noqa: TRY004, only a ValueError is a validation error
        if not minimum <= value <= maximum:
            raise ValueError(f"must be from {minimum} to {maximum}")
        # Pydantic's own check of decimal places rounds to 28 digits first. 4.1 and 4.10 become equal.
        return Decimal(Money.from_amount(Decimal(value)).cents).scaleb(-2)

    return Annotated[Decimal, BeforeValidator(check), _amount_schema(minimum_cents)]


class AmountRequest(RequestModel):
    """An amount of money in a request. Its subclasses say which amounts are valid."""

    amount: Decimal

    def to_money(self) -> Money:
        return Money.from_amount(self.amount)


class CreditLimitRequest(AmountRequest):
    amount: _amount(0)  # type: ignore[valid-type]


class OrderTotalRequest(AmountRequest):
    amount: _amount(1)  # type: ignore[valid-type]


class MoneyResponse(WireModel):
    amount: Annotated[int | float, _amount_schema(0)]

    @model_validator(mode="before")
    @classmethod
    def _from_money(cls, value: object) -> object:
        return {"amount": value.to_json_number()} if isinstance(value, Money) else value


# Names

_CONTROL = r"\u0000-\u001f\u007f-\u009f\u2028\u2029\ufffd"
"""Control characters, line separators, and the replacement for bytes that are not UTF-8."""
_INVISIBLE = (
    r"\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u2800"
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
)
"""White space, an empty Braille cell, and Unicode's Default_Ignorable_Code_Point up to U+FFFF.

Higher ones are left out because not every JSON Schema implementation accepts them in a pattern.
"""
_PRINTABLE = f"^[^{_CONTROL}]*[^{_CONTROL}{_INVISIBLE}][^{_CONTROL}]*$"


def _printable(name: str) -> str:
    if re.fullmatch(_PRINTABLE, name) is None:
        raise ValueError("must have a visible character, no control characters, and be in UTF-8")
    return name


Name = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=200, json_schema_extra={"pattern": _PRINTABLE}),
    AfterValidator(_printable),
]


# Ids and other scalars


def in_digits(text: object) -> object:
    """Reject other spellings of an integer that Pydantic accepts: "1_000", "+1", " 1", "1.0"."""
    if isinstance(text, str) and re.fullmatch(r"-?(0|[1-9][0-9]*)", text, re.ASCII) is None:
        raise ValueError("must be an integer, in digits and nothing else")
    return text


def _whole(value: object) -> object:
    # To JSON Schema, and to JavaScript, 1.0 is the integer 1.
    if isinstance(value, Decimal) and 0 <= value <= MAX_ID and value == int(value):
        return int(value)
    return value


IdInBody = Annotated[int, Field(strict=True, ge=1, le=MAX_ID), BeforeValidator(_whole)]
IdInPath = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(in_digits), Path()]
IdInResponse = Annotated[int, Field(ge=1, le=MAX_ID)]
Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
EventId = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="The same key and body within 24 hours create nothing twice.",
    ),
]
