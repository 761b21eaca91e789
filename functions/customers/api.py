"""HTTP API of the Customers service."""
# ruff: noqa: N803, path parameters have their names in the API

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import Response

import telemetry
from customers import service, wire
from customers.repository import CustomerRepository
from customers.service import CustomerNotFoundError
from messaging.retry import retry_on_conflict
from rest_api.fields import IdempotencyKey, IdInPath
from rest_api.pagination import NextToken, PageLimit, decode_next_token, encode_next_token
from rest_api.problems import refusals
from rest_api.resolver import RestApi
from shared.errors import IdempotencyKeyReusedError

api = RestApi("customers")
customers = CustomerRepository.from_environment()


@api.post("/customers", responses=refusals(IdempotencyKeyReusedError, headers=["ETag"]))
def create_customer(
    request: wire.CreateCustomerRequest, idempotency_key: IdempotencyKey = None
) -> wire.CreateCustomerResponse:
    """Create a customer. The whole credit limit is available."""
    api.caller.check_all_customers()
    created = retry_on_conflict(
        service.create_customer,
        customers,
        request.name,
        request.credit_limit.to_money(),
        api.cause,
        api.idempotent(idempotency_key, request),
    )
    telemetry.record(created.event)
    api.tell_version(created.version)
    api.log_keys["customer_id"] = created.id
    return wire.CreateCustomerResponse(customer_id=created.id)


@api.get("/customers")
def list_customers(limit: PageLimit = 20, next_token: NextToken = None) -> wire.CustomersResponse:
    """List customers, in no particular order. A new customer appears within about a second."""
    api.caller.check_all_customers()
    found, last_id = customers.list(limit, decode_next_token(next_token))
    return wire.CustomersResponse(customers=found, next_token=encode_next_token(last_id))


@api.get("/customers/<customerId>", responses=refusals(CustomerNotFoundError, headers=["ETag"]))
def get_customer(customerId: IdInPath) -> wire.CustomerResponse:
    """Get a customer, with the credit that is available now."""
    api.caller.check_customer(customerId, CustomerNotFoundError(customerId))
    customer = service.find_customer(customers, customerId)
    api.tell_version(customer.version)
    return wire.CustomerResponse.model_validate(customer)


@api.delete(
    "/customers/<customerId>",
    responses=refusals(CustomerNotFoundError, success=HTTPStatus.NO_CONTENT),
)
def erase_customer(customerId: IdInPath) -> Response[str]:
    """Erase a customer's personal data. Erasing it again changes nothing.

    The customer is then not found, and takes no more orders. Existing orders and their reserved credit stay.
    """
    api.caller.check_customer(customerId, CustomerNotFoundError(customerId))
    retry_on_conflict(service.erase_customer, customers, customerId, api.cause)
    return Response(HTTPStatus.NO_CONTENT, body="")


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api.handle(event, context)
