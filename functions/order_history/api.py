"""The HTTP API of Order history: queries of the view, and nothing else."""

from __future__ import annotations

from typing import Annotated, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import Field
from pydantic.alias_generators import to_camel

from order_history.view import RECENT_ORDERS, Document, connect_from_environment
from orders.events import OrderState, RejectionReason
from rest_api.resolver import (
    IdInPath,
    IdInResponse,
    MoneyResponse,
    NextToken,
    PageLimit,
    RestApi,
    WireModel,
    decode_next_event_token,
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
EventId = Annotated[str, Field(json_schema_extra={"format": "uuid"})]


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


class OrderEventResponse(WireModel):
    event_id: EventId
    type: str
    source: str
    aggregate_type: str
    aggregate_id: IdInResponse
    aggregate_version: Annotated[int, Field(ge=0)]
    occurred_at: Instant
    correlation_id: str
    causation_id: EventId | None
    projected_at: Annotated[Instant, Field(description="When the view first saw it.")]
    deliveries: Annotated[
        int,
        Field(ge=0, description="How often the view was handed it; 0 if it was rebuilt from it."),
    ]

    @classmethod
    def of(cls, event: Document) -> OrderEventResponse:
        names = cls.model_fields.keys() - {"event_id"}
        return cls(event_id=event["_id"], **{name: event[to_camel(name)] for name in names})


class OrderEventsResponse(WireModel):
    events: list[OrderEventResponse]
    next_token: str | None


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
    order = _find_order_of_caller(orderId)
    timeline = sorted(order["timeline"].items(), key=lambda entry: int(entry[0]))
    return OrderTimelineResponse(
        order_id=orderId,
        customer_id=order["customerId"],
        timeline=[StateChange(state=change["state"], at=change["at"]) for _, change in timeline],
        **_order_fields(order),
    )


@api.get("/orderhistory/orders/<orderId>/events", responses=refusals(OrderHistoryNotFoundError))
def get_order_events(
    orderId: IdInPath,  # noqa: N803
    limit: PageLimit = 100,
    next_token: NextToken = None,
) -> OrderEventsResponse:
    """Get all events that concern an order, as they occurred.

    With when the view first saw each, and how often. Pages are by `nextToken`.
    """
    _find_order_of_caller(orderId)
    last_id = decode_next_event_token(next_token)
    found = view.find_events(orderId, limit + 1, last_id)
    page = found[:limit]
    return OrderEventsResponse(
        events=[OrderEventResponse.of(event) for event in page],
        next_token=encode_next_token(page[-1]["_id"]) if len(found) > limit else None,
    )


def _find_order_of_caller(order_id: int) -> Document:
    order = view.find_order(order_id)
    if order is None:
        raise OrderHistoryNotFoundError(f"No order {order_id} is known here.")
    api.caller.check_customer(order["customerId"])
    return order


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api.answer(event, context)
