"""The HTTP API of Customers."""

from __future__ import annotations

import os
import unicodedata
from typing import Annotated, Any

from aws_lambda_powertools import Logger
from pydantic import AfterValidator, Field

import metrics
from customers import service
from customers.customer import Customer
from customers.dynamodb import CustomerRepository
from messaging.outbox import retry_on_conflict
from rest_api import (
    CreditLimitRequest,
    IdempotencyKey,
    IdInPath,
    MoneyResponse,
    NextToken,
    PageLimit,
    RestApi,
    WireModel,
    decode_next_token,
    encode_next_token,
)

logger = Logger()
api = RestApi("customers")
customers = CustomerRepository(os.environ["CUSTOMERS_TABLE"], os.environ["CUSTOMERS_OUTBOX_TABLE"])


def _printable(name: str) -> str:
    if not name.strip() or any(unicodedata.category(character) == "Cc" for character in name):
        raise ValueError("must have a visible character and no control characters")
    return name


class CreateCustomerRequest(WireModel):
    name: Annotated[
        str, Field(strict=True, min_length=1, max_length=200), AfterValidator(_printable)
    ]
    credit_limit: CreditLimitRequest


class CreateCustomerResponse(WireModel):
    customer_id: int


class CustomerResponse(WireModel):
    customer_id: int
    name: str
    credit_limit: MoneyResponse
    available_credit: MoneyResponse

    @classmethod
    def of(cls, customer: Customer) -> CustomerResponse:
        return cls(
            customer_id=customer.id,
            name=customer.name,
            credit_limit=MoneyResponse.of(customer.credit_limit),
            available_credit=MoneyResponse.of(customer.available_credit),
        )


class CustomersResponse(WireModel):
    customers: list[CustomerResponse]
    next_token: str | None


@api.post("/customers")
def create_customer(
    request: CreateCustomerRequest, idempotency_key: IdempotencyKey = None
) -> CreateCustomerResponse:
    api.caller.check_all_customers()
    customer_id = retry_on_conflict(
        service.create_customer,
        customers,
        request.name,
        request.credit_limit.to_money(),
        api.cause,
        idempotency_key,
    )
    api.log_keys["customer_id"] = customer_id
    return CreateCustomerResponse(customer_id=customer_id)


@api.get("/customers")
def list_customers(limit: PageLimit = 20, next_token: NextToken = None) -> CustomersResponse:
    api.caller.check_all_customers()
    found, last_id = customers.list(limit, decode_next_token(next_token))
    return CustomersResponse(
        customers=[CustomerResponse.of(customer) for customer in found],
        next_token=encode_next_token(last_id),
    )


@api.get("/customers/<customerId>")
def get_customer(customerId: IdInPath) -> CustomerResponse:  # noqa: N803, the name of the path parameter
    api.caller.check_customer(customerId)
    return CustomerResponse.of(service.find_customer(customers, customerId))


@metrics.emitted
@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api.answer(event, context)
