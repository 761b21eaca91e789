"""Amounts of money: integer cents inside, a decimal number with at most two places on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

MAX_CENTS = 10**13
"""The largest credit limit and the largest order total, in cents."""


@dataclass(frozen=True, order=True)
class Money:
    """An amount in cents. There is one currency, as in the original."""

    cents: int

    @classmethod
    def from_amount(cls, amount: Decimal) -> Money:
        """The amount as cents, exactly.

        Raises: ValueError if `amount` is no finite number or has more than two decimal places.
        """
        if not amount.is_finite():
            raise ValueError(f"{amount} is not a finite number")
        cents = amount * 100
        if cents != cents.to_integral_value():
            raise ValueError(f"{amount} has more than two decimal places")
        return cls(int(cents))

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
