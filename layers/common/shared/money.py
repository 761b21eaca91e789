"""Amounts of money: integer cents inside, a decimal number with at most two places on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

MAX_CENTS = 10**13
"""The largest credit limit and the largest order total, in cents."""

_CENT = Decimal("0.01")


@dataclass(frozen=True, order=True)
class Money:
    """An amount in cents. There is one currency, as in the original."""

    cents: int

    @classmethod
    def from_amount(cls, amount: Decimal) -> Money:
        """The amount as cents, exactly.

        Raises: ValueError if `amount` is no finite number, has more than two decimal places or 28 digits.
        """
        try:
            rounded = amount.quantize(_CENT)
        except InvalidOperation as error:
            raise ValueError("not a finite number, or one of more than 28 digits") from error
        if rounded != amount:  # NaN is not even equal to itself
            raise ValueError("not a number with at most two decimal places")
        return cls(int(rounded * 100))

    def to_json_number(self) -> int | float:
        """What `json.dumps` writes as this amount: `5`, `4.5`, `99999999999.99`.

        A float appears here and only here, because the JSON module writes numbers from nothing
        else. It is exact: up to MAX_CENTS an amount has 13 or 14 significant digits, and a double
        gives back any 15 (IEEE 754, DBL_DIG).
        """
        whole, rest = divmod(self.cents, 100)
        return whole if rest == 0 else self.cents / 100

    def __add__(self, other: Money) -> Money:
        return Money(self.cents + other.cents)

    def __sub__(self, other: Money) -> Money:
        return Money(self.cents - other.cents)


ZERO = Money(0)
