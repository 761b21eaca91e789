"""Parameters, responses and errors of the Order history API."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import Field

from order_history.queries import CustomerHistory
from orders.events import OrderState, RejectionReason
from rest_api.fields import EventId, IdInResponse, Instant, MoneyResponse, WireModel
from rest_api.pagination import encode_next_token
from shared.errors import NotFoundError

InState = Annotated[OrderState | None, Query(description="Only orders in this state.")]
SearchText = Annotated[
    str, Query(min_length=1, max_length=100, description="Words, ids and amounts.")
]


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

    @classmethod
    def of(cls, history: CustomerHistory) -> Self:
        return cls(
            id=history.customer_id,
            name=history.name,
            credit_limit=history.credit_limit,
            available_credit=history.available_credit,
            orders={str(order.order_id): order for order in history.orders},
            next_token=encode_next_token(history.orders[-1].order_id) if history.has_more else None,
        )


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


class CustomerHit(WireModel):
    kind: Literal["customer"]
    customer_id: IdInResponse
    name: str
    credit_limit: MoneyResponse
    available_credit: MoneyResponse


class OrderHit(OrderInHistory):
    kind: Literal["order"]
    customer_id: IdInResponse
    customer_name: Annotated[
        str | None, Field(description="Null if the view does not have the customer.")
    ]


class SearchResponse(WireModel):
    hits: list[Annotated[CustomerHit | OrderHit, Field(discriminator="kind")]]
    next_token: str | None
