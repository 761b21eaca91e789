"""Commands and saga steps of the Customers service."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from customers.customer import (
    Customer,
    CustomerCreditLimitExceededError,
    CustomerErasedError,
)
from customers.events import (
    CustomerCreditReleased,
    CustomerCreditReservationFailed,
    CustomerEvent,
    CustomerValidationFailed,
    ValidationFailureReason,
)
from messaging.domain_event import Cause
from messaging.envelope import DomainEventEnvelope
from orders.events import OrderCancelled, OrderCreated
from shared.errors import NotFoundError
from shared.idempotency import Created, IdempotentRequest, RequestAlreadyHandledError
from shared.identifiers import new_id
from shared.money import Money

if TYPE_CHECKING:
    from customers.repository import CustomerRepository


class CustomerNotFoundError(NotFoundError):
    def __init__(self, customer_id: int) -> None:
        super().__init__(f"Customer {customer_id} does not exist.")


def create_customer(
    customers: CustomerRepository,
    name: str,
    credit_limit: Money,
    cause: Cause,
    request: IdempotentRequest | None = None,
) -> Created:
    """Create a customer. On a replay of `request`, return the original's id and publish nothing.

    Raises: IdempotencyKeyReusedError; WriteConflictError if the generated id is taken.
    """
    customer, created = Customer.create(new_id(), name, credit_limit)
    envelope = DomainEventEnvelope.wrap(created, customer.version, cause)
    try:
        customers.insert(customer, envelope, request)
    except RequestAlreadyHandledError as handled:
        return Created(handled.aggregate_id)
    return Created(customer.id, envelope)


def find_customer(customers: CustomerRepository, customer_id: int) -> Customer:
    """Load a customer. Raises: CustomerNotFoundError, also if the customer was erased."""
    customer = customers.find(customer_id)
    if customer is None or customer.erased:
        raise CustomerNotFoundError(customer_id)
    return customer


def erase_customer(
    customers: CustomerRepository, customer_id: int, cause: Cause
) -> DomainEventEnvelope | None:
    """Erase a customer's personal data. Return the published event, or None if the customer is erased already.

    Raises: CustomerNotFoundError; WriteConflictError.
    """
    customer = customers.find(customer_id)
    if customer is None:
        raise CustomerNotFoundError(customer_id)
    if customer.erased:
        return None
    before = replace(customer)
    envelope = DomainEventEnvelope.wrap(customer.erase(), customer.version, cause)
    customers.erase(before, customer, envelope)
    return envelope


def reserve_credit(customer: Customer | None, order: OrderCreated) -> CustomerEvent | None:
    """Reserve credit for a new order, or refuse it. Return None if credit is reserved already."""
    if customer is None:
        return _refuse(order, ValidationFailureReason.UNKNOWN_CUSTOMER)
    if order.order_id in customer.reservations:
        return None
    try:
        return customer.reserve_credit(order.order_id, order.order_total)
    except CustomerErasedError:
        return _refuse(order, ValidationFailureReason.CUSTOMER_ERASED)
    except CustomerCreditLimitExceededError:
        return CustomerCreditReservationFailed(
            customer_id=customer.id,
            order_id=order.order_id,
            available_credit=customer.available_credit,
        )


def _refuse(order: OrderCreated, reason: ValidationFailureReason) -> CustomerValidationFailed:
    return CustomerValidationFailed(
        customer_id=order.customer_id, order_id=order.order_id, reason=reason
    )


def release_credit(
    customer: Customer | None, order: OrderCancelled
) -> CustomerCreditReleased | None:
    """Release the credit of a cancelled order. Return None if none is reserved."""
    if customer is None or order.order_id not in customer.reservations:
        return None
    return customer.release_credit(order.order_id)
