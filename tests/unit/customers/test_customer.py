from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from customers.customer import Customer, CustomerCreditLimitExceededError
from customers.events import CustomerCreated, CustomerCreditReleased, CustomerCreditReserved
from shared.money import MAX_CENTS, ZERO, Money


def a_customer(limit: int = 500) -> Customer:
    customer, _ = Customer.create(1, "Jane Doe", Money(limit))
    return customer


def test_a_new_customer_has_all_of_the_credit_limit() -> None:
    customer, event = Customer.create(1, "Jane Doe", Money(500))

    assert customer.available_credit == Money(500)
    assert customer.version == 1
    assert event == CustomerCreated(customer_id=1, name="Jane Doe", credit_limit=Money(500))


def test_a_reservation_lessens_the_available_credit() -> None:
    customer = a_customer(limit=500)

    event = customer.reserve_credit(7, Money(400))

    assert customer.available_credit == Money(100)
    assert customer.version == 2
    assert event == CustomerCreditReserved(customer_id=1, order_id=7, available_credit=Money(100))


def test_the_whole_credit_can_be_reserved() -> None:
    customer = a_customer(limit=500)

    customer.reserve_credit(7, Money(500))

    assert customer.available_credit == ZERO


def test_credit_is_not_reserved_beyond_the_limit() -> None:
    customer = a_customer(limit=500)
    customer.reserve_credit(7, Money(400))
    before = Customer(**{**vars(customer), "reservations": dict(customer.reservations)})

    with pytest.raises(CustomerCreditLimitExceededError):
        customer.reserve_credit(8, Money(101))

    assert customer == before


def test_a_customer_without_a_limit_can_have_no_order() -> None:
    with pytest.raises(CustomerCreditLimitExceededError):
        a_customer(limit=0).reserve_credit(7, Money(1))


def test_released_credit_is_available_again() -> None:
    customer = a_customer(limit=500)
    customer.reserve_credit(7, Money(400))

    event = customer.release_credit(7)

    assert customer.available_credit == Money(500)
    assert customer.version == 3
    assert event == CustomerCreditReleased(customer_id=1, order_id=7, available_credit=Money(500))


def test_only_credit_that_is_held_can_be_released() -> None:
    with pytest.raises(KeyError):
        a_customer().release_credit(7)


@given(st.integers(0, MAX_CENTS), st.integers(1, MAX_CENTS))
def test_credit_is_reserved_exactly_if_there_is_enough(limit: int, total: int) -> None:
    customer = a_customer(limit)

    try:
        customer.reserve_credit(7, Money(total))
    except CustomerCreditLimitExceededError:
        assert total > limit
    else:
        assert total <= limit


class CreditMachine(RuleBasedStateMachine):
    """Any sequence of reservations and releases."""

    def __init__(self) -> None:
        super().__init__()
        self.customer = a_customer(limit=1000)
        self.changes = 0

    reserved = Bundle("reserved")

    @rule(target=reserved, total=st.integers(1, 600))
    def reserve(self, total: int) -> int | None:
        order_id = 1000 + self.changes
        try:
            self.customer.reserve_credit(order_id, Money(total))
        except CustomerCreditLimitExceededError:
            return None
        self.changes += 1
        return order_id

    @rule(order_id=consumes(reserved))
    def release(self, order_id: int | None) -> None:
        if order_id is not None:
            self.customer.release_credit(order_id)
            self.changes += 1

    @invariant()
    def credit_is_never_negative(self) -> None:
        assert ZERO <= self.customer.available_credit <= self.customer.credit_limit

    @invariant()
    def reserved_credit_is_the_sum_of_the_reservations(self) -> None:
        total = sum(money.cents for money in self.customer.reservations.values())
        assert self.customer.reserved_credit == Money(total)

    @invariant()
    def each_change_is_a_version(self) -> None:
        assert self.customer.version == 1 + self.changes


TestCredit = CreditMachine.TestCase
TestCredit.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
