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
    return order.note_credit_reserved()


def reject(order: Order) -> OrderEvent:
    return order.note_credit_not_reserved(INSUFFICIENT)


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


def test_the_tables_have_every_command_in_every_state() -> None:
    transitions = {(state, command) for state, command, *_ in [*ALLOWED, *REFUSED]}

    assert len(transitions) == len(ALLOWED) + len(REFUSED) == len(OrderState) * 3


def test_a_new_order_is_pending() -> None:
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


@pytest.mark.parametrize(("state", "command", "new_state", "event_class"), ALLOWED)
def test_an_allowed_change_is_the_next_version_and_tells_of_the_order_as_it_is_now(
    state: OrderState, command: Command, new_state: OrderState, event_class: type[OrderEvent]
) -> None:
    order = copy.deepcopy(ORDERS[state])
    version = order.version

    event = command(order)

    assert order.state is new_state
    assert order.version == version + 1
    assert event == event_class(
        order_id=7,
        customer_id=1,
        order_total=Money(400),
        state=new_state,
        rejection_reason=INSUFFICIENT if new_state is OrderState.REJECTED else None,
        created_at=order.created_at,
    )


@pytest.mark.parametrize(("state", "command", "error"), REFUSED)
def test_any_other_change_is_refused_and_leaves_the_order_as_it_was(
    state: OrderState, command: Command, error: type[Exception]
) -> None:
    order = copy.deepcopy(ORDERS[state])

    with pytest.raises(error):
        command(order)

    assert order == ORDERS[state]


@pytest.mark.parametrize("reason", RejectionReason)
def test_a_rejected_order_says_why(reason: RejectionReason) -> None:
    order = an_order()

    order.note_credit_not_reserved(reason)

    assert order.rejection_reason is reason


def test_a_client_learns_why_an_order_cannot_be_cancelled() -> None:
    with pytest.raises(ConflictError, match="Order 7 is PENDING"):
        an_order().cancel()
