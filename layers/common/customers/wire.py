"""Requests and responses of the Customers API."""

from __future__ import annotations

from pydantic import Field

from rest_api.fields import (
    CreditLimitRequest,
    IdInResponse,
    MoneyResponse,
    Name,
    RequestModel,
    WireModel,
)


class CreateCustomerRequest(RequestModel):
    name: Name
    credit_limit: CreditLimitRequest


class CreateCustomerResponse(WireModel):
    customer_id: IdInResponse


class CustomerResponse(WireModel):
    customer_id: IdInResponse = Field(validation_alias="id")
    name: str
    credit_limit: MoneyResponse
    available_credit: MoneyResponse


class CustomersResponse(WireModel):
    customers: list[CustomerResponse]
    next_token: str | None
