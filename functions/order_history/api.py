"""HTTP API of Order history: queries of the view."""
# ruff: noqa: N803, path parameters have their names in the API

from __future__ import annotations

from typing import Any

from order_history import wire
from order_history.candidates import SearchQuery
from order_history.connection import connect_from_environment
from order_history.queries import OrderHistoryQueries, OrderInView
from order_history.search import OrderHistorySearch, Position
from order_history.wire import InState, OrderHistoryNotFoundError
from rest_api import pagination
from rest_api.fields import IdInPath
from rest_api.pagination import NextToken, PageLimit
from rest_api.problems import refusals
from rest_api.resolver import RestApi
from rest_api.waiting import MinVersion, Prefer, ViewBehindError

api = RestApi("orderhistory")
view = OrderHistoryQueries(connect_from_environment())


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
    customerId: IdInPath,
    state: InState = None,
    limit: PageLimit = 100,
    next_token: NextToken = None,
    *,
    min_version: MinVersion = None,
    prefer: Prefer = None,
) -> wire.OrderHistoryResponse:
    """Get a customer with their orders, the latest first. The view follows the services with a short delay.

    With `minVersion`, wait until the view has that version of the customer: 5 seconds, or those of `Prefer: wait=N`.
    """
    unknown = OrderHistoryNotFoundError(f"There is no customer {customerId} in the view.")
    api.caller.check_customer(customerId, unknown)
    before = pagination.decode_next_token(next_token)
    history = api.find_version(
        lambda: view.find_history(customerId, state, limit, before), min_version, prefer, unknown
    )
    return wire.OrderHistoryResponse.of(history)


@api.get("/orderhistory/search")
def search_order_history(
    q: wire.SearchText, state: InState = None, limit: PageLimit = 20, next_token: NextToken = None
) -> wire.SearchResponse:
    """Find customers, then orders, by all words of a text. Case, accents and the order of words do not matter.

    A word is the beginning of a word of the customer's name or of a state, an id of a customer or an order, or an
    amount (credit limit or order total), whose last places may be left out: 12.50, 12.5 or 12. A page may have fewer
    hits than `limit`, even none, and still a `nextToken`.
    """
    if api.caller.customer_id is None:
        api.caller.check_all_customers()
    query = SearchQuery.parse(q, state, api.caller.customer_id)
    after = pagination.decode_position(next_token, lambda text: Position.parse(text, query))
    page = OrderHistorySearch(view.connection).search(query, limit, after)
    return wire.SearchResponse(hits=page.hits, next_token=pagination.encode_next_token(page.end))


@api.get(
    "/orderhistory/orders/<orderId>",
    responses=refusals(OrderHistoryNotFoundError, ViewBehindError, headers=["Preference-Applied"]),
)
def get_order_timeline(
    orderId: IdInPath, min_version: MinVersion = None, prefer: Prefer = None
) -> wire.OrderTimelineResponse:
    """Get an order with the timeline of its states.

    With `minVersion`, wait until the view has that version of the order: 5 seconds, or those of `Prefer: wait=N`. The
    history of its customer has it then, too.
    """
    order = _find_visible_order(orderId, min_version, prefer)
    return wire.OrderTimelineResponse.model_validate(order)


@api.get("/orderhistory/orders/<orderId>/events", responses=refusals(OrderHistoryNotFoundError))
def get_order_events(
    orderId: IdInPath, limit: PageLimit = 100, next_token: NextToken = None
) -> wire.OrderEventsResponse:
    """Get all events of an order as they occurred, with the number of deliveries of each to the view."""
    events = _find_visible_order(orderId).events
    page, following = pagination.slice_page(events, lambda e: e.event_id, limit, next_token)
    return wire.OrderEventsResponse(events=page, next_token=following)


def _find_visible_order(
    order_id: int, min_version: int | None = None, prefer: str | None = None
) -> OrderInView:
    def find() -> OrderInView | None:
        # Another customer's order is handled like a missing one, the wait included: a caller cannot tell them apart.
        order = view.find_order(order_id)
        return order if order is not None and api.caller.may_see(order.customer_id) else None

    unknown = OrderHistoryNotFoundError(f"There is no order {order_id} in the view.")
    return api.find_version(find, min_version, prefer, unknown)


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api.handle(event, context)
