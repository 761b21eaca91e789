"""The HTTP API of Order history: queries of the view, and nothing else."""

from __future__ import annotations

from typing import Annotated, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import Field

from order_history.mongodb import RECENT_ORDERS, Document, connect_from_environment
from orders.events import OrderState, RejectionReason
from rest_api import (
    IdInPath,
    IdInResponse,
    MoneyResponse,
    NextToken,
    PageLimit,
    RestApi,
    WireModel,
    decode_next_token,
    encode_next_token,
    refusals,
)
from shared.errors import NotFoundError
from shared.money import Money

logger = Logger()
api = RestApi("orderhistory")
view = connect_from_environment()


class OrderHistoryNotFoundError(NotFoundError):
    """The view knows of no such customer or order. It may not have heard of it yet."""


Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class OrderInHistory(WireModel):
    order_id: IdInResponse
    order_total: MoneyResponse
    state: OrderState
    rejection_reason: RejectionReason | None
    created_at: Instant

    @classmethod
    def of(cls, order_id: int, order: Document) -> OrderInHistory:
        return cls(order_id=order_id, **_order_fields(order))


class OrderHistoryResponse(WireModel):
    id: IdInResponse
    name: str
    credit_limit: MoneyResponse
    available_credit: MoneyResponse
    orders: dict[str, OrderInHistory]
    next_token: str | None


class StateChange(WireModel):
    state: OrderState
    at: Instant


class OrderTimelineResponse(WireModel):
    order_id: IdInResponse
    customer_id: IdInResponse
    order_total: MoneyResponse
    state: OrderState
    rejection_reason: RejectionReason | None
    created_at: Instant
    timeline: list[StateChange]


def _order_fields(order: Document) -> dict[str, Any]:
    return {
        "order_total": MoneyResponse.of(Money(order["orderTotalCents"])),
        "state": order["state"],
        "rejection_reason": order["rejectionReason"],
        "created_at": order["createdAt"],
    }


@api.get("/customers/count")
def count_customers() -> int:
    """Count the customers in the view."""
    api.caller.check_all_customers()
    return view.count_customers()


@api.get("/customers/<customerId>/orderhistory", responses=refusals(OrderHistoryNotFoundError))
def get_order_history(
    customerId: IdInPath,  # noqa: N803, the name of the path parameter
    state: Annotated[OrderState | None, Query(description="Only orders in this state.")] = None,
    limit: PageLimit = 100,
    next_token: NextToken = None,
) -> OrderHistoryResponse:
    """Get a customer with their orders, the latest first.

    The view follows the services with a short delay. Pages are by `nextToken`.
    """
    # The first page of all is in the customer's document already.
    api.caller.check_customer(customerId)
    before = decode_next_token(next_token)
    customer = view.find_customer(customerId)
    if customer is None:
        raise OrderHistoryNotFoundError(f"No customer {customerId} is known here.")
    recent: Document = customer.get("orders", {})
    orders: dict[int, Document]
    if before is None and state is None and (limit < len(recent) or len(recent) < RECENT_ORDERS):
        latest = sorted((int(order_id) for order_id in recent), reverse=True)
        orders = {order_id: recent[str(order_id)] for order_id in latest[: limit + 1]}
    else:
        found = view.find_orders(customerId, state, limit + 1, before)
        orders = {order["_id"]: order for order in found}
    page = list(orders.items())[:limit]
    more = len(orders) > limit
    return OrderHistoryResponse(
        id=customerId,
        name=customer["name"],
        credit_limit=MoneyResponse.of(Money(customer["creditLimitCents"])),
        available_credit=MoneyResponse.of(Money(customer["availableCreditCents"])),
        orders={str(order_id): OrderInHistory.of(order_id, order) for order_id, order in page},
        next_token=encode_next_token(page[-1][0]) if more else None,
    )


@api.get("/orderhistory/orders/<orderId>", responses=refusals(OrderHistoryNotFoundError))
def get_order_timeline(orderId: IdInPath) -> OrderTimelineResponse:  # noqa: N803
    """Get an order with the timeline of its states."""
    order = view.find_order(orderId)
    if order is None:
        raise OrderHistoryNotFoundError(f"No order {orderId} is known here.")
    api.caller.check_customer(order["customerId"])
    timeline = sorted(order["timeline"].items(), key=lambda entry: int(entry[0]))
    return OrderTimelineResponse(
        order_id=orderId,
        customer_id=order["customerId"],
        timeline=[StateChange(state=change["state"], at=change["at"]) for _, change in timeline],
        **_order_fields(order),
    )


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api.answer(event, context)
