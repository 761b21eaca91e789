"""The Customer aggregate guards its credit limit against any command."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel

from customers.customer import (
    Customer,
    CustomerCreditLimitExceededError,
    CustomerErasedError,
)
from customers.events import (
    PERSONAL_DATA,
    CustomerCreated,
    CustomerCreditReleased,
    CustomerCreditReserved,
    CustomerErased,
    CustomerValidationFailed,
    ValidationFailureReason,
)
from customers.service import reserve_credit
from orders.order import Order
from shared.money import MAX_CENTS, ZERO, Money

NOT_PERSONAL: set[str] = set()
"""Fields of CustomerCreated with text that identifies no person."""


def a_customer(limit: int = 500) -> Customer:
    customer, _ = Customer.create(1, "Jane Doe", Money(limit))
    return customer


def test_new_customer_has_the_whole_credit_limit_available() -> None:
    customer, event = Customer.create(1, "Jane Doe", Money(500))

    assert (customer.available_credit, customer.version) == (Money(500), 1)
    assert (customer.erased, customer.created_event_id) == (False, None), "not stored yet"
    assert event == CustomerCreated(customer_id=1, name="Jane Doe", credit_limit=Money(500))


def test_reservation_lowers_the_available_credit_and_release_restores_it() -> None:
    customer = a_customer(limit=500)

    reserved = customer.reserve_credit(7, Money(400))
    assert (customer.available_credit, customer.version) == (Money(100), 2)
    assert reserved == CustomerCreditReserved(
        customer_id=1, order_id=7, available_credit=Money(100)
    )

    released = customer.release_credit(7)
    assert (customer.available_credit, customer.version) == (Money(500), 3)
    assert released == CustomerCreditReleased(
        customer_id=1, order_id=7, available_credit=Money(500)
    )


def test_erased_customer_has_no_name_takes_no_orders_and_releases_credit() -> None:
    customer = a_customer(limit=500)
    customer.reserve_credit(7, Money(400))

    assert customer.erase() == CustomerErased(customer_id=1)

    assert (customer.name, customer.erased, customer.version) == (None, True, 3)
    with pytest.raises(CustomerErasedError):
        customer.reserve_credit(8, Money(1))
    with pytest.raises(CustomerErasedError):
        customer.erase()
    assert (customer.reserved_credit, customer.version) == (Money(400), 3)
    customer.release_credit(7)
    assert (customer.available_credit, customer.version) == (Money(500), 4)


def test_order_of_an_erased_customer_is_refused_with_the_reason() -> None:
    customer = a_customer()
    customer.erase()
    _, order = Order.create(7, 1, Money(400))

    refusal = reserve_credit(customer, order)

    erased = ValidationFailureReason.CUSTOMER_ERASED
    assert refusal == CustomerValidationFailed(customer_id=1, order_id=7, reason=erased)


def test_erasure_covers_every_personal_field() -> None:
    customer = a_customer()
    texts = {field.name for field in fields(CustomerCreated) if "str" in str(field.type)}
    personal = texts - NOT_PERSONAL
    for name in personal:
        setattr(customer, name, "personal")

    customer.erase()

    kept = [name for name in personal if getattr(customer, name) is not None]
    assert kept == [], "layers/common/customers/customer.py: erase sets them to None"
    assert {to_camel(name) for name in personal} == PERSONAL_DATA.keys(), (
        "layers/common/customers/events.py: a text is in PERSONAL_DATA, or in NOT_PERSONAL of "
        "tests/unit/customers/test_customer.py"
    )


@given(st.integers(0, MAX_CENTS), st.integers(1, MAX_CENTS))
def test_credit_is_reserved_exactly_if_the_limit_is_not_exceeded(limit: int, total: int) -> None:
    for amount in {total, max(limit, 1), limit + 1}:
        customer = a_customer(limit)
        if amount <= limit:
            customer.reserve_credit(7, Money(amount))
            assert customer.available_credit == Money(limit - amount)
        else:
            with pytest.raises(CustomerCreditLimitExceededError):
                customer.reserve_credit(7, Money(amount))
            assert customer == a_customer(limit)


def release_loaded(customer: Customer, cents: int) -> None:
    """Release a reservation that was loaded and contradicts the sum."""
    customer.reservations[8] = Money(cents)
    customer.release_credit(8)


INVALID: list[tuple[Callable[[Customer], object], type[Exception]]] = [
    (lambda c: c.reserve_credit(8, Money(101)), CustomerCreditLimitExceededError),
    (lambda c: c.reserve_credit(8, ZERO), ValueError),
    (lambda c: c.reserve_credit(8, Money(-1_000_000)), ValueError),
    (lambda c: c.reserve_credit(7, Money(1)), ValueError),
    (lambda c: c.release_credit(8), KeyError),
    *((lambda c, n=n: release_loaded(c, n), ValueError) for n in (401, 0, -1)),
    (lambda _: Customer.create(1, "Jane Doe", Money(-1)), ValueError),
]


def test_invalid_commands_are_refused_and_change_no_credit() -> None:
    for command, error in INVALID:
        customer = a_customer(limit=500)
        customer.reserve_credit(7, Money(400))
        before = copy.deepcopy(customer)

        with pytest.raises(error):
            command(customer)

        assert (customer.reserved_credit, customer.version) == (before.reserved_credit, 2)
        assert customer.reservations[7] == Money(400)
