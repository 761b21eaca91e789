"""The HTTP API of Order history: queries of the view, and nothing else."""

from __future__ import annotations

from typing import Annotated, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import Field

from order_history.connection import connect_from_environment
from order_history.queries import EventInView, OrderHistoryQueries, OrderInView, OrderSummary
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

logger = Logger()
api = RestApi("orderhistory")
view = OrderHistoryQueries(connect_from_environment())


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
    def of(cls, order: OrderSummary) -> OrderInHistory:
        return cls(order_id=order.order_id, **_order_fields(order))


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
    def of(cls, event: EventInView) -> OrderEventResponse:
        return cls(**vars(event))


class OrderEventsResponse(WireModel):
    events: list[OrderEventResponse]
    next_token: str | None


def _order_fields(order: OrderSummary) -> dict[str, Any]:
    return {
        "order_total": MoneyResponse.of(order.order_total),
        "state": order.state,
        "rejection_reason": order.rejection_reason,
        "created_at": order.created_at,
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
    api.caller.check_customer(customerId)
    found = view.find_history(customerId, state, limit, decode_next_token(next_token))
    if found is None:
        raise OrderHistoryNotFoundError(f"No customer {customerId} is known here.")
    return OrderHistoryResponse(
        id=customerId,
        name=found.name,
        credit_limit=MoneyResponse.of(found.credit_limit),
        available_credit=MoneyResponse.of(found.available_credit),
        orders={str(order.order_id): OrderInHistory.of(order) for order in found.orders},
        next_token=encode_next_token(found.orders[-1].order_id) if found.has_more else None,
    )


@api.get("/orderhistory/orders/<orderId>", responses=refusals(OrderHistoryNotFoundError))
def get_order_timeline(orderId: IdInPath) -> OrderTimelineResponse:  # noqa: N803
    """Get an order with the timeline of its states."""
    order = _find_order_of_caller(orderId)
    return OrderTimelineResponse(
        order_id=orderId,
        customer_id=order.customer_id,
        timeline=[StateChange(state=change.state, at=change.at) for change in order.timeline],
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
    events = _find_order_of_caller(orderId).events
    last_id = decode_next_event_token(next_token)
    if last_id is not None:
        ids = [event.event_id for event in events]
        events = events[ids.index(last_id) + 1 :] if last_id in ids else []
    page = events[:limit]
    return OrderEventsResponse(
        events=[OrderEventResponse.of(event) for event in page],
        next_token=encode_next_token(page[-1].event_id) if len(events) > limit else None,
    )


def _find_order_of_caller(order_id: int) -> OrderInView:
    order = view.find_order(order_id)
    if order is None:
        raise OrderHistoryNotFoundError(f"No order {order_id} is known here.")
    api.caller.check_customer(order.customer_id)
    return order


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api.answer(event, context)
