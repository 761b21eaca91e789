from __future__ import annotations

import copy
import inspect
import itertools
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pytest

from customers.events import (
    CustomerCreditReserved,
    CustomerValidationFailed,
    ValidationFailureReason,
)
from orders.events import (
    OrderApproved,
    OrderCancelled,
    OrderCreated,
    OrderEvent,
    OrderRejected,
    OrderState,
    RejectionReason,
)
from orders.order import Order, OrderNotCancellableError, OrderNotPendingError
from orders.service import OrderNotFoundError, approve_order, reject_order
from shared.errors import ConflictError
from shared.money import Money

Command = Callable[[Order], OrderEvent]
INSUFFICIENT = RejectionReason.INSUFFICIENT_CREDIT
RESERVED = CustomerCreditReserved(customer_id=1, order_id=7, available_credit=Money(100))
REFUSAL = CustomerValidationFailed(
    customer_id=1, order_id=7, reason=ValidationFailureReason.UNKNOWN_CUSTOMER
)
approve, cancel = Order.approve, Order.cancel


def reject(order: Order) -> OrderEvent:
    return order.reject(INSUFFICIENT)


def an_order(*commands: Command) -> Order:
    order, _ = Order.create(7, 1, Money(400))
    for command in commands:
        command(order)
    return order


ORDERS = {
    OrderState.PENDING: an_order(),
    OrderState.APPROVED: an_order(approve),
    OrderState.REJECTED: an_order(reject),
    OrderState.CANCELLED: an_order(approve, cancel),
}

DECIDED = [state for state in OrderState if state is not OrderState.PENDING]
ALLOWED: list[tuple[OrderState, Command, OrderState, type[OrderEvent]]] = [
    (OrderState.PENDING, approve, OrderState.APPROVED, OrderApproved),
    (OrderState.PENDING, reject, OrderState.REJECTED, OrderRejected),
    (OrderState.APPROVED, cancel, OrderState.CANCELLED, OrderCancelled),
]
REFUSED: list[tuple[OrderState, Command, type[Exception]]] = [
    (OrderState.PENDING, cancel, OrderNotCancellableError),
    *((state, command, OrderNotPendingError) for state in DECIDED for command in (approve, reject)),
    (OrderState.REJECTED, cancel, OrderNotCancellableError),
    (OrderState.CANCELLED, cancel, OrderNotCancellableError),
]


def test_each_command_is_tested_in_each_state() -> None:
    commands = [
        name
        for name, method in vars(Order).items()
        if inspect.isfunction(method) and not name.startswith("_")
    ]
    assert ORDERS.keys() == set(OrderState), "tests/unit/orders/test_order.py: ORDERS"
    tested = Counter((row[0], row[1].__name__) for row in ALLOWED)
    tested += Counter((row[0], row[1].__name__) for row in REFUSED)

    untested = [pair for pair in itertools.product(OrderState, commands) if pair not in tested]
    assert untested == [], "tests/unit/orders/test_order.py: add these to ALLOWED or REFUSED"
    repeated = [pair for pair, number in tested.items() if number > 1]
    assert repeated == [], "tests/unit/orders/test_order.py: in ALLOWED and REFUSED"


def event_data(order: Order, state: OrderState, reason: RejectionReason | None) -> dict[str, Any]:
    return {
        "order_id": 7,
        "customer_id": 1,
        "order_total": Money(400),
        "state": state,
        "rejection_reason": reason,
        "created_at": order.created_at,
    }


def test_new_order_is_pending() -> None:
    order, event = Order.create(7, 1, Money(400))

    assert (order.state, order.version) == (OrderState.PENDING, 1)
    assert event == OrderCreated(**event_data(order, OrderState.PENDING, None))


def test_allowed_command_is_the_next_version_and_its_event_carries_the_changed_order() -> None:
    for state, command, new_state, event_class in ALLOWED:
        order = copy.deepcopy(ORDERS[state])

        event = command(order)

        assert (order.state, order.version) == (new_state, ORDERS[state].version + 1)
        reason = INSUFFICIENT if new_state is OrderState.REJECTED else None
        assert event == event_class(**event_data(order, new_state, reason))


def test_any_other_command_is_refused_and_changes_nothing() -> None:
    for state, command, error in REFUSED:
        order = copy.deepcopy(ORDERS[state])

        with pytest.raises(error):
            command(order)

        assert order == ORDERS[state]


def test_rejected_order_has_its_reason() -> None:
    for reason in RejectionReason:
        order = an_order()
        order.reject(reason)
        assert order.rejection_reason is reason
    for failure in ValidationFailureReason:
        order = an_order()
        reject_order(order, CustomerValidationFailed(customer_id=1, order_id=7, reason=failure))
        assert str(order.rejection_reason) == failure.value


def test_refused_cancellation_names_the_state() -> None:
    with pytest.raises(ConflictError, match="Order 7 is PENDING"):
        an_order().cancel()


def test_decision_about_a_missing_order_is_an_error_that_names_the_order() -> None:
    with pytest.raises(OrderNotFoundError, match="Order 7 does not exist"):
        approve_order(None, RESERVED)
    with pytest.raises(OrderNotFoundError, match="Order 7 does not exist"):
        reject_order(None, REFUSAL)


def test_second_decision_is_ignored() -> None:
    assert reject_order(an_order(approve), REFUSAL) is None
    assert approve_order(an_order(reject), RESERVED) is None


def test_state_without_rules_fails() -> None:
    new = StrEnum("new", {"LOST": "LOST"}).LOST  # type: ignore[attr-defined]
    rules: list[Any] = [OrderState.holds_credit, OrderState.is_final]
    for rule in rules:
        with pytest.raises(AssertionError, match="LOST"):
            rule.__get__(new)


def test_order_total_must_be_positive() -> None:
    for cents in (0, -400):
        with pytest.raises(ValueError, match="positive"):
            Order.create(7, 1, Money(cents))
