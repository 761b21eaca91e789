"""The HTTP API of Customers."""

from __future__ import annotations

import re
from typing import Annotated, Any

from aws_lambda_powertools import Logger
from pydantic import AfterValidator, Field

import telemetry
from customers import service
from customers.customer import Customer
from customers.repository import CustomerRepository
from messaging.retry import retry_on_conflict
from rest_api.resolver import (
    CreditLimitRequest,
    IdempotencyKey,
    IdInPath,
    IdInResponse,
    MoneyResponse,
    NextToken,
    PageLimit,
    RequestModel,
    RestApi,
    WireModel,
    decode_next_token,
    encode_next_token,
    idempotent,
    refusals,
)
from shared.errors import IdempotencyKeyReusedError

logger = Logger()
api = RestApi("customers")
customers = CustomerRepository.from_environment()


# Control characters, line separators, and what is left of a character that was no UTF-8.
_CONTROL = r"\u0000-\u001f\u007f-\u009f\u2028\u2029\ufffd"
# White space, and what is drawn as nothing: Unicode's Default_Ignorable_Code_Point, and an empty Braille cell.
# Without those beyond U+FFFF, which not every reader of the documentation's JSON would understand.
_INVISIBLE = (
    r"\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u2800"
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
)
_PRINTABLE = f"^[^{_CONTROL}]*[^{_CONTROL}{_INVISIBLE}][^{_CONTROL}]*$"


def _printable(name: str) -> str:
    if re.fullmatch(_PRINTABLE, name) is None:
        raise ValueError("must have a visible character, no control characters, and be in UTF-8")
    return name


class CreateCustomerRequest(RequestModel):
    name: Annotated[
        str,
        Field(strict=True, min_length=1, max_length=200, json_schema_extra={"pattern": _PRINTABLE}),
        AfterValidator(_printable),
    ]
    credit_limit: CreditLimitRequest


class CreateCustomerResponse(WireModel):
    customer_id: IdInResponse


class CustomerResponse(WireModel):
    customer_id: IdInResponse
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


@api.post("/customers", responses=refusals(IdempotencyKeyReusedError))
def create_customer(
    request: CreateCustomerRequest, idempotency_key: IdempotencyKey = None
) -> CreateCustomerResponse:
    """Create a customer, with all of the credit limit available."""
    api.caller.check_all_customers()
    created = retry_on_conflict(
        service.create_customer,
        customers,
        request.name,
        request.credit_limit.to_money(),
        api.cause,
        idempotent(request, idempotency_key),
    )
    telemetry.record(created.event)
    api.log_keys["customer_id"] = created.id
    return CreateCustomerResponse(customer_id=created.id)


@api.get("/customers")
def list_customers(limit: PageLimit = 20, next_token: NextToken = None) -> CustomersResponse:
    """List customers, in no particular order.

    The list lags behind by up to a second.
    """
    api.caller.check_all_customers()
    found, last_id = customers.list(limit, decode_next_token(next_token))
    return CustomersResponse(
        customers=[CustomerResponse.of(customer) for customer in found],
        next_token=encode_next_token(last_id),
    )


@api.get("/customers/<customerId>", responses=refusals(service.CustomerNotFoundError))
def get_customer(customerId: IdInPath) -> CustomerResponse:  # noqa: N803, the name of the path parameter
    """Get a customer, with the credit that is available now."""
    api.caller.check_customer(customerId)
    return CustomerResponse.of(service.find_customer(customers, customerId))


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api.answer(event, context)
