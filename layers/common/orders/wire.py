"""Requests and responses of the Orders API."""

from __future__ import annotations

from pydantic import Field

from orders.events import OrderState, RejectionReason
from rest_api.fields import (
    IdInBody,
    IdInResponse,
    MoneyResponse,
    OrderTotalRequest,
    RequestModel,
    WireModel,
)


class CreateOrderRequest(RequestModel):
    customer_id: IdInBody
    order_total: OrderTotalRequest


class CreateOrderResponse(WireModel):
    order_id: IdInResponse


class OrderStateResponse(WireModel):
    """The state of an order after a command."""

    order_id: IdInResponse = Field(validation_alias="id")
    order_state: OrderState = Field(validation_alias="state")


class OrderResponse(WireModel):
    order_id: IdInResponse = Field(validation_alias="id")
    customer_id: IdInResponse
    order_total: MoneyResponse
    order_state: OrderState = Field(validation_alias="state")
    rejection_reason: RejectionReason | None


class OrdersResponse(WireModel):
    orders: list[OrderResponse]
    next_token: str | None
