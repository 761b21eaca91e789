from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

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
from shared.errors import ConflictError
from shared.money import Money

Command = Callable[[Order], OrderEvent]
INSUFFICIENT = RejectionReason.INSUFFICIENT_CREDIT


def approve(order: Order) -> OrderEvent:
    return order.approve()


def reject(order: Order) -> OrderEvent:
    return order.reject(INSUFFICIENT)


def cancel(order: Order) -> OrderEvent:
    return order.cancel()


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

ALLOWED = [
    (OrderState.PENDING, approve, OrderState.APPROVED, OrderApproved),
    (OrderState.PENDING, reject, OrderState.REJECTED, OrderRejected),
    (OrderState.APPROVED, cancel, OrderState.CANCELLED, OrderCancelled),
]
REFUSED = [
    (OrderState.PENDING, cancel, OrderNotCancellableError),
    (OrderState.APPROVED, approve, OrderNotPendingError),
    (OrderState.APPROVED, reject, OrderNotPendingError),
    (OrderState.REJECTED, approve, OrderNotPendingError),
    (OrderState.REJECTED, reject, OrderNotPendingError),
    (OrderState.REJECTED, cancel, OrderNotCancellableError),
    (OrderState.CANCELLED, approve, OrderNotPendingError),
    (OrderState.CANCELLED, reject, OrderNotPendingError),
    (OrderState.CANCELLED, cancel, OrderNotCancellableError),
]


def test_each_command_is_tested_in_each_state() -> None:
    transitions = {(state, command) for state, command, *_ in [*ALLOWED, *REFUSED]}

    assert len(transitions) == len(ALLOWED) + len(REFUSED) == len(OrderState) * 3


def test_new_order_is_pending() -> None:
    order, event = Order.create(7, 1, Money(400))

    assert order.state is OrderState.PENDING
    assert order.version == 1
    assert event == OrderCreated(
        order_id=7,
        customer_id=1,
        order_total=Money(400),
        state=OrderState.PENDING,
        rejection_reason=None,
        created_at=order.created_at,
    )


def test_allowed_command_is_the_next_version_and_its_event_carries_the_changed_order() -> None:
    for state, command, new_state, event_class in ALLOWED:
        order = copy.deepcopy(ORDERS[state])

        event = command(order)

        assert (order.state, order.version) == (new_state, ORDERS[state].version + 1)
        assert event == event_class(
            order_id=7,
            customer_id=1,
            order_total=Money(400),
            state=new_state,
            rejection_reason=INSUFFICIENT if new_state is OrderState.REJECTED else None,
            created_at=order.created_at,
        )


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


def test_refused_cancellation_names_the_state() -> None:
    with pytest.raises(ConflictError, match="Order 7 is PENDING"):
        an_order().cancel()


def test_order_total_must_be_positive() -> None:
    for cents in (0, -400):
        with pytest.raises(ValueError, match="positive"):
            Order.create(7, 1, Money(cents))
