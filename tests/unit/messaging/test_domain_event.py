from __future__ import annotations

import json
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.domain_event import Cause
from messaging.envelope import DomainEventEnvelope, EventDecoder, InvalidEventError
from orders.events import OrderCreated, OrderState
from shared.clock import format_instant, now
from shared.money import Money
from tests.samples import any_envelope, published_classes, to_message

CUSTOMERS, ORDERS = "customers-and-orders.customers", "customers-and-orders.orders"
DECODER = EventDecoder(published_classes())
ORDER_CREATED = OrderCreated(
    order_id=7,
    customer_id=1,
    order_total=Money(400),
    state=OrderState.PENDING,
    rejection_reason=None,
    created_at=datetime(2026, 11, 4, 9, 30, tzinfo=UTC),
)


def a_message() -> dict[str, Any]:
    return to_message(DomainEventEnvelope.wrap(ORDER_CREATED, 1, Cause("a request")))


def decode(message: dict[str, Any]) -> DomainEventEnvelope:
    return DECODER.decode(message["source"], message["detail-type"], message["detail"])


# Encoding and decoding


@given(any_envelope())
def test_every_event_comes_back_from_json_as_it_was(envelope: DomainEventEnvelope) -> None:
    assert decode(to_message(envelope)) == envelope


@given(any_envelope(), st.dictionaries(st.text(), st.none() | st.integers() | st.text()))
def test_fields_that_are_not_known_are_passed_over(
    envelope: DomainEventEnvelope, unknown: dict[str, Any]
) -> None:
    message = to_message(envelope)
    detail = message["detail"]
    detail["metadata"] = unknown | detail["metadata"]
    detail["data"] = unknown | detail["data"]

    assert decode({**message, "detail": unknown | detail}) == envelope


def test_amounts_are_cents_and_instants_are_utc_with_milliseconds() -> None:
    data = a_message()["detail"]["data"]

    assert data["orderTotalCents"] == 400
    assert data["createdAt"] == "2026-11-04T09:30:00.000Z"


def test_the_present_survives_being_written() -> None:
    instant = now()

    assert datetime.fromisoformat(format_instant(instant)) == instant


@pytest.mark.parametrize("name", ["rejectionReason", "causationId"])
def test_an_optional_field_may_be_missing(name: str) -> None:
    message = a_message()
    for part in message["detail"].values():
        part.pop(name, None)

    decode(message)


REQUIRED = [
    (part, name)
    for part, facts in a_message()["detail"].items()
    for name in facts
    if name not in {"rejectionReason", "causationId"}
]


@pytest.mark.parametrize(("part", "name"), REQUIRED)
def test_an_event_without_one_of_its_fields_is_invalid(part: str, name: str) -> None:
    message = a_message()
    del message["detail"][part][name]

    with pytest.raises(InvalidEventError, match=name):
        decode(message)


WRONG: dict[str, list[object]] = {
    "orderId": [None, "7", 7.0, True, [7], {}],
    "orderTotalCents": [None, "400", 400.0, 4.5, True],
    "state": [None, "pending", "DONE", 1, True, ["PENDING"]],
    "rejectionReason": ["BECAUSE", 1, False, {}],
    "createdAt": [None, 1793784600, "yesterday", "2026-11-04T09:30:00.000", "2026-11-04", "", True],
}
WRONG_METADATA: dict[str, list[object]] = {
    "eventId": [None, 1, {}],
    "aggregateType": [None, 1],
    "aggregateId": [None, 7, "8", "07", ""],
    "aggregateVersion": [None, "1", 1.0, True],
    "occurredAt": [None, "2026-11-04T09:30:00.000", "2026-13-04T09:30:00.000Z", 5],
    "correlationId": [None, 5],
    "causationId": [5, False, []],
    "schemaVersion": [None, 0, 2, "1", 1.0, True],
}
VIOLATIONS = [
    (part, name, value)
    for part, wrong in (("data", WRONG), ("metadata", WRONG_METADATA))
    for name, values in wrong.items()
    for value in values
]


@pytest.mark.parametrize(("part", "name", "value"), VIOLATIONS)
def test_an_event_with_a_wrong_value_is_invalid(part: str, name: str, value: object) -> None:
    message = a_message()
    message["detail"][part][name] = value

    with pytest.raises(InvalidEventError):
        decode(message)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(json_values, json_values, json_values)
def test_whatever_is_no_event_is_invalid_and_nothing_else(
    source: object, detail_type: object, detail: object
) -> None:
    for message in ((source, detail_type, detail), (ORDERS, "OrderCreated", detail)):
        with pytest.raises(InvalidEventError):
            DECODER.decode(*message)


@given(any_envelope(), st.data())
def test_an_event_with_anything_in_place_of_a_part_is_decoded_or_invalid(
    envelope: DomainEventEnvelope, data: st.DataObject
) -> None:
    message = deepcopy(to_message(envelope))
    part = data.draw(st.sampled_from(["metadata", "data"]))
    name = data.draw(st.sampled_from(sorted(message["detail"][part])))
    message["detail"][part][name] = data.draw(json_values)

    with suppress(InvalidEventError):
        decode(message)


def test_an_event_of_another_service_of_the_same_name_is_not_known() -> None:
    message = {**a_message(), "source": "somebody.else"}

    with pytest.raises(InvalidEventError, match="somebody"):
        decode(message)


def test_a_decoder_knows_only_the_classes_it_was_given() -> None:
    message = a_message()

    with pytest.raises(InvalidEventError, match="OrderCreated"):
        EventDecoder([]).decode(message["source"], message["detail-type"], message["detail"])


# What is published in answer to what


def test_the_answer_to_an_event_has_the_same_id_each_time() -> None:
    cause = Cause("a request", event_id="an event")

    assert cause.effect_id(CUSTOMERS) == cause.effect_id(CUSTOMERS)


def test_the_correlation_is_no_part_of_an_answers_id() -> None:
    one, other = Cause("a request", "an event"), Cause("another request", "an event")

    assert one.effect_id(CUSTOMERS) == other.effect_id(CUSTOMERS)


def test_different_services_and_different_events_have_different_answers() -> None:
    causes = [Cause("a request", "an event"), Cause("a request", "another event")]

    assert len({c.effect_id(s) for c in causes for s in (CUSTOMERS, ORDERS)}) == 4


def test_what_a_request_causes_is_new_each_time() -> None:
    cause = Cause("a request")

    assert cause.effect_id(ORDERS) != cause.effect_id(ORDERS)


@given(any_envelope(), any_envelope(), any_envelope())
def test_the_type_and_the_facts_of_an_answer_are_no_part_of_its_id(
    question: DomainEventEnvelope, one: DomainEventEnvelope, other: DomainEventEnvelope
) -> None:
    cause = question.cause_of_effects
    answers = [DomainEventEnvelope.wrap(e.event, 1, cause) for e in (one, other)]

    same_service = one.event.source == other.event.source
    assert (answers[0].metadata.event_id == answers[1].metadata.event_id) is same_service


def test_an_answer_is_in_the_same_correlation_and_names_what_it_answers() -> None:
    question = DomainEventEnvelope.wrap(ORDER_CREATED, 1, Cause("a request"))

    answer = DomainEventEnvelope.wrap(ORDER_CREATED, 2, question.cause_of_effects)

    assert question.metadata.causation_id is None
    assert answer.metadata.causation_id == question.metadata.event_id
    assert answer.metadata.correlation_id == "a request"


def test_the_detail_is_one_line_of_ascii() -> None:
    detail = DomainEventEnvelope.wrap(ORDER_CREATED, 1, Cause("Zoë\n")).to_detail()

    assert detail.isascii()
    assert "\n" not in detail
    assert json.loads(detail)["metadata"]["correlationId"] == "Zoë\n"
