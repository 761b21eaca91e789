"""The commands of the Customers service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from customers.customer import Customer, CustomerCreditLimitExceededError
from customers.events import CustomerCreditReservationFailed, CustomerValidationFailed
from messaging.domain_event import Cause
from shared.errors import NotFoundError
from shared.idempotency import IdempotentRequest, RequestAlreadyHandledError
from shared.identifiers import new_id
from shared.money import Money

if TYPE_CHECKING:
    from customers.repository import CustomerRepository


class CustomerNotFoundError(NotFoundError):
    def __init__(self, customer_id: int) -> None:
        super().__init__(f"There is no customer {customer_id}.")


def create_customer(
    customers: CustomerRepository,
    name: str,
    credit_limit: Money,
    cause: Cause,
    idempotency_key: str | None = None,
) -> int:
    """There is one more customer, whose id is returned; none if this request was handled before.

    Raises: IdempotencyKeyReusedError if another request was made with the key.
    """
    request = (
        IdempotentRequest.of(
            idempotency_key, {"name": name, "creditLimitCents": credit_limit.cents}
        )
        if idempotency_key
        else None
    )
    customer, created = Customer.create(new_id(), name, credit_limit)
    try:
        customers.add(customer, created, cause, request)
    except RequestAlreadyHandledError as handled:
        return handled.aggregate_id
    return customer.id


def find_customer(customers: CustomerRepository, customer_id: int) -> Customer:
    """Raises: CustomerNotFoundError."""
    customer = customers.find(customer_id)
    if customer is None:
        raise CustomerNotFoundError(customer_id)
    return customer


def reserve_credit(
    customers: CustomerRepository,
    customer_id: int,
    order_id: int,
    order_total: Money,
    cause: Cause,
) -> bool:
    """The customer's credit holds the order's total, or an event tells why not.

    An order that holds credit already changes nothing, and is answered False.
    Raises: EventAlreadyPublishedError if `cause` was answered before, whatever the answer was.
    """
    customer = customers.find(customer_id, order_id)
    if customer is None:
        unknown = CustomerValidationFailed(customer_id=customer_id, order_id=order_id)
        customers.publish(unknown, 0, cause)
        return True
    if order_id in customer.reservations:
        return False
    try:
        reserved = customer.reserve_credit(order_id, order_total)
    except CustomerCreditLimitExceededError:
        failed = CustomerCreditReservationFailed(
            customer_id=customer_id,
            order_id=order_id,
            available_credit=customer.available_credit,
        )
        customers.publish(failed, customer.version, cause)
    else:
        customers.save(customer, reserved, cause)
    return True


def release_credit(
    customers: CustomerRepository, customer_id: int, order_id: int, cause: Cause
) -> bool:
    """The order holds no credit. If it held none, nothing has changed, and the answer is False."""
    customer = customers.find(customer_id, order_id)
    if customer is None or order_id not in customer.reservations:
        return False
    released = customer.release_credit(order_id)
    customers.save(customer, released, cause)
    return True
