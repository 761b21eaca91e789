"""HTTP API of Order history: queries of the view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import Field

from order_history.candidates import SearchQuery
from order_history.connection import connect_from_environment
from order_history.queries import CustomerHistory, OrderHistoryQueries, OrderInView
from order_history.search import OrderHistorySearch, Position
from order_history.terms import MAX_WORDS, parse_query
from orders.events import OrderState, RejectionReason
from rest_api.fields import EventId, IdInPath, IdInResponse, Instant, MoneyResponse, WireModel
from rest_api.pagination import (
    NextToken,
    PageLimit,
    decode_next_token,
    decode_position,
    encode_next_token,
    slice_page,
)
from rest_api.problems import refusals
from rest_api.resolver import RestApi
from rest_api.waiting import MinVersion, Prefer
from shared.errors import InvalidRequestError, NotFoundError, NotYetError

api = RestApi("orderhistory")
view = OrderHistoryQueries(connect_from_environment())


DEFAULT_SECONDS = 5
"""How long a request with minVersion waits for the view if it has no preference."""


V = TypeVar("V", CustomerHistory, OrderInView)


class OrderHistoryNotFoundError(NotFoundError):
    """The view has no such customer or order, or not yet."""


class ViewBehindError(NotYetError):
    """The view has the customer or order, but not the requested version."""


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


@api.get("/customers/count")
def count_customers() -> int:
    """Count the customers in the view."""
    api.caller.check_all_customers()
    return view.count_customers()


@api.get(
    "/customers/<customerId>/orderhistory",
    responses=refusals(OrderHistoryNotFoundError, ViewBehindError, headers=["Preference-Applied"]),
)
def get_order_history(
    customerId: IdInPath,  # noqa: N803, the name of the path parameter
    state: Annotated[OrderState | None, Query(description="Only orders in this state.")] = None,
    limit: PageLimit = 100,
    next_token: NextToken = None,
    *,
    min_version: MinVersion = None,
    prefer: Prefer = None,
) -> OrderHistoryResponse:
    """Get a customer with their orders, the latest first. The view follows the services with a short delay.

    With `minVersion`, wait until the view has that version of the customer: 5 seconds, or those of `Prefer: wait=N`.
    """
    unknown = OrderHistoryNotFoundError(f"There is no customer {customerId} in the view.")
    api.caller.check_customer(customerId, unknown)
    before = decode_next_token(next_token)
    history = _find_version(
        lambda: view.find_history(customerId, state, limit, before), min_version, prefer, unknown
    )
    return OrderHistoryResponse(
        id=history.customer_id,
        name=history.name,
        credit_limit=history.credit_limit,
        available_credit=history.available_credit,
        orders={str(order.order_id): order for order in history.orders},
        next_token=encode_next_token(history.orders[-1].order_id) if history.has_more else None,
    )


@api.get("/orderhistory/search")
def search_order_history(
    q: Annotated[str, Query(min_length=1, max_length=100, description="Words, ids and amounts.")],
    state: Annotated[OrderState | None, Query(description="Only orders in this state.")] = None,
    limit: PageLimit = 20,
    next_token: NextToken = None,
) -> SearchResponse:
    """Find customers, then orders, by all words of a text. Case, accents and the order of words do not matter.

    A word is the beginning of a word of the customer's name or of a state, an id of a customer or an order, or an
    amount (credit limit or order total), whose last places may be left out: 12.50, 12.5 or 12. A page may have fewer
    hits than `limit`, even none, and still a `nextToken`.
    """
    if api.caller.customer_id is None:
        api.caller.check_all_customers()
    query = SearchQuery(parse_query(q), state, api.caller.customer_id)
    if not 1 <= len(query.words) <= MAX_WORDS:
        raise InvalidRequestError(
            f"The search q needs 1 to {MAX_WORDS} words with letters or digits."
        )
    after = decode_position(next_token, lambda text: Position.parse(text, query))
    page = OrderHistorySearch(view.connection).search(query, limit, after)
    end = None if page.end is None else str(page.end)
    return SearchResponse(hits=page.hits, next_token=encode_next_token(end))


@api.get(
    "/orderhistory/orders/<orderId>",
    responses=refusals(OrderHistoryNotFoundError, ViewBehindError, headers=["Preference-Applied"]),
)
def get_order_timeline(
    orderId: IdInPath,  # noqa: N803
    min_version: MinVersion = None,
    prefer: Prefer = None,
) -> OrderTimelineResponse:
    """Get an order with the timeline of its states.

    With `minVersion`, wait until the view has that version of the order: 5 seconds, or those of `Prefer: wait=N`. The
    history of its customer has it then, too.
    """
    return OrderTimelineResponse.model_validate(_find_visible_order(orderId, min_version, prefer))


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


def _find_visible_order(
    order_id: int, min_version: int | None = None, prefer: str | None = None
) -> OrderInView:
    def find() -> OrderInView | None:
        # Another customer's order is handled like a missing one, the wait included: a caller cannot tell them apart.
        order = view.find_order(order_id)
        return order if order is not None and api.caller.may_see(order.customer_id) else None

    unknown = OrderHistoryNotFoundError(f"There is no order {order_id} in the view.")
    return _find_version(find, min_version, prefer, unknown)


def _find_version(
    find: Callable[[], V | None], min_version: int | None, prefer: str | None, unknown: Exception
) -> V:
    """Return what `find` finds, after a wait for the version. Raises: `unknown`; ViewBehindError."""

    def has_version(found: V | None) -> bool:
        return min_version is None or (found is not None and found.version >= min_version)

    found = find() if min_version is None else api.wait(prefer, find, has_version, DEFAULT_SECONDS)
    if found is None:
        raise unknown
    if not has_version(found):
        raise ViewBehindError(f"The view has version {found.version}. Try again later.")
    return found


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api.handle(event, context)
