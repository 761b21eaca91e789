"""HTTP API of Order history: queries of the view."""

from __future__ import annotations

from typing import Annotated, Any

from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import Field

from order_history.connection import connect_from_environment
from order_history.queries import OrderHistoryQueries, OrderInView
from orders.events import OrderState, RejectionReason
from rest_api.fields import EventId, IdInPath, IdInResponse, Instant, MoneyResponse, WireModel
from rest_api.pagination import (
    NextToken,
    PageLimit,
    decode_next_token,
    encode_next_token,
    slice_page,
)
from rest_api.problems import refusals
from rest_api.resolver import RestApi
from shared.errors import NotFoundError

api = RestApi("orderhistory")
view = OrderHistoryQueries(connect_from_environment())


class OrderHistoryNotFoundError(NotFoundError):
    """The view has no such customer or order, or not yet."""


class OrderInHistory(WireModel):
    order_id: IdInResponse
    order_total: MoneyResponse
    state: OrderState
    rejection_reason: RejectionReason | None
    created_at: Instant


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


class OrderTimelineResponse(OrderInHistory):
    customer_id: IdInResponse
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
    projected_at: Annotated[Instant, Field(description="Time of the first delivery to the view.")]
    deliveries: Annotated[
        int, Field(ge=0, description="Number of deliveries; 0 if the view was rebuilt from it.")
    ]
    last_delivered_at: Annotated[
        Instant | None, Field(description="Time of the last delivery; null if there was none.")
    ]


class OrderEventsResponse(WireModel):
    events: list[OrderEventResponse]
    next_token: str | None


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
    """Get a customer with their orders, the latest first. The view follows the services with a short delay."""
    unknown = OrderHistoryNotFoundError(f"There is no customer {customerId} in the view.")
    api.caller.check_customer(customerId, unknown)
    history = view.find_history(customerId, state, limit, decode_next_token(next_token))
    if history is None:
        raise unknown
    return OrderHistoryResponse(
        id=history.customer_id,
        name=history.name,
        credit_limit=history.credit_limit,
        available_credit=history.available_credit,
        orders={str(order.order_id): order for order in history.orders},
        next_token=encode_next_token(history.orders[-1].order_id) if history.has_more else None,
    )


@api.get("/orderhistory/orders/<orderId>", responses=refusals(OrderHistoryNotFoundError))
def get_order_timeline(orderId: IdInPath) -> OrderTimelineResponse:  # noqa: N803
    """Get an order with the timeline of its states."""
    return OrderTimelineResponse.model_validate(_find_visible_order(orderId))


@api.get("/orderhistory/orders/<orderId>/events", responses=refusals(OrderHistoryNotFoundError))
def get_order_events(
    orderId: IdInPath,  # noqa: N803
    limit: PageLimit = 100,
    next_token: NextToken = None,
) -> OrderEventsResponse:
    """Get all events of an order as they occurred, with the number of deliveries of each to the view."""
    events = _find_visible_order(orderId).events
    page, following = slice_page(events, lambda event: event.event_id, limit, next_token)
    return OrderEventsResponse(events=page, next_token=following)


def _find_visible_order(order_id: int) -> OrderInView:
    unknown = OrderHistoryNotFoundError(f"There is no order {order_id} in the view.")
    order = view.find_order(order_id)
    if order is None:
        raise unknown
    api.caller.check_customer(order.customer_id, unknown)
    return order


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api.handle(event, context)
