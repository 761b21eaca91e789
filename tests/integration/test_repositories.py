"""Each field of an aggregate is stored and loaded."""

from __future__ import annotations

from dataclasses import MISSING, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, get_args, get_type_hints

from customers.customer import Customer
from customers.events import CustomerCreated
from customers.repository import CustomerRepository
from orders.order import Order
from orders.repository import OrderRepository
from shared.money import Money
from tests.samples import wrap

CREATED = wrap(CustomerCreated(customer_id=7, name="Jane", credit_limit=Money(7)))
OTHER_VALUES: dict[Any, Any] = {
    int: 7,
    str: "another text",
    bool: True,
    Money: Money(7),
    datetime: datetime(2026, 11, 4, 9, 30, tzinfo=UTC),
}
OF_FIELDS: dict[str, Any] = {
    "created_event_id": CREATED.metadata.event_id,  # the repository takes it from the event
    "reservations": {},  # items of their own
}


def with_other_values(aggregate: type) -> dict[str, Any]:
    """Return a value for each field of the aggregate that is not its default."""
    hints, values = get_type_hints(aggregate), {}
    for field in fields(aggregate):
        hint = (get_args(hints[field.name]) or (hints[field.name],))[0]
        value = list(hint)[-1] if isinstance(hint, type) and issubclass(hint, StrEnum) else None
        values[field.name] = OF_FIELDS.get(field.name, value or OTHER_VALUES.get(hint))
        assert field.default is MISSING or values[field.name] != field.default, (
            f"tests/integration/test_repositories.py: add a value of {hint} to OTHER_VALUES"
        )
    return values


def assert_stored(found: Any, expected: dict[str, Any], repository: str) -> None:
    lost = [name for name, value in expected.items() if getattr(found, name) != value]
    assert lost == [], f"{repository}: store and load these (the item class, _to_item, _to_...)"


def test_each_field_of_a_customer_is_stored_and_loaded(customers: CustomerRepository) -> None:
    values = with_other_values(Customer)

    customers.insert(Customer(**values), CREATED)

    assert_stored(customers.find(7), values, "layers/common/customers/repository.py")


def test_each_field_of_an_order_is_stored_and_loaded(orders: OrderRepository) -> None:
    values = with_other_values(Order)

    orders.insert(Order(**values), CREATED)

    assert_stored(orders.find(7), values, "layers/common/orders/repository.py")
