"""Money: integer cents in the code, a decimal number with at most two places in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

MAX_CENTS = 10**13
"""The largest credit limit and order total, in cents."""

_CENT = Decimal("0.01")


@dataclass(frozen=True, order=True)
class Money:
    """An amount in cents. There is one currency, as in the original."""

    cents: int

    @classmethod
    def from_amount(cls, amount: Decimal) -> Money:
        """Convert `amount` to cents without rounding.

        Raises: ValueError if `amount` is not finite, or has more than two decimal places or 28 digits.
        """
        try:
            rounded = amount.quantize(_CENT)
        except InvalidOperation as error:
            raise ValueError("must be a finite number of at most 28 digits") from error
        if rounded != amount:  # also True for NaN, which equals nothing
            raise ValueError("must have at most two decimal places")
        return cls(int(rounded * 100))

    def to_json_number(self) -> int | float:
        """Return the amount as `json.dumps` must write it: `5`, `4.5`, `99999999999.99`.

        The only float in the system, because the JSON module writes numbers from nothing else.
        It is exact: up to MAX_CENTS an amount has at most 15 significant digits (IEEE 754, DBL_DIG).
        """
        whole, rest = divmod(self.cents, 100)
        return whole if rest == 0 else self.cents / 100

    def __add__(self, other: Money) -> Money:
        return Money(self.cents + other.cents)

    def __sub__(self, other: Money) -> Money:
        return Money(self.cents - other.cents)


ZERO = Money(0)
