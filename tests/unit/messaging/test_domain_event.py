from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customers.events import CustomerValidationFailed, ValidationFailureReason
from messaging.domain_event import Cause, DomainEvent
from messaging.envelope import (
    DomainEventEnvelope,
    EventDecoder,
    InvalidEventError,
    NewerSchemaVersionError,
)
from orders.order import Order
from shared.identifiers import MAX_ID
from shared.money import MAX_CENTS, Money
from tests.samples import an_event_id, any_envelope, published_classes, to_message, wrap

CUSTOMERS, ORDERS = "customers-and-orders.customers", "customers-and-orders.orders"
DECODER = EventDecoder(published_classes())
ORDER_CREATED = replace(
    Order.create(7, 1, Money(400))[1], created_at=datetime(2026, 11, 4, 9, 30, tzinfo=UTC)
)


def a_message() -> dict[str, Any]:
    return to_message(wrap(ORDER_CREATED))


def decode(message: dict[str, Any], decoder: EventDecoder = DECODER) -> DomainEventEnvelope:
    return decoder.decode(message["source"], message["detail-type"], message["detail"])


@given(any_envelope(), st.dictionaries(st.text(), st.none() | st.integers() | st.text()))
def test_encoded_event_is_decoded_unchanged_and_unknown_fields_are_ignored(
    envelope: DomainEventEnvelope, unknown: dict[str, Any]
) -> None:
    message = to_message(envelope)
    assert decode(message) == envelope
    detail = message["detail"]
    for part in ("metadata", "data"):
        detail[part] = {k: v for k, v in unknown.items() if k not in detail[part]} | detail[part]

    assert decode({**message, "detail": unknown | detail}) == envelope


def test_detail_is_one_line_of_ascii_with_cents_and_utc_milliseconds() -> None:
    detail = DomainEventEnvelope.wrap(ORDER_CREATED, 1, Cause("Zoë\n")).to_detail()

    assert detail.isascii()
    assert "\n" not in detail
    decoded = json.loads(detail)
    assert detail == json.dumps(decoded, separators=(",", ":")), "no spaces"
    assert decoded["metadata"]["correlationId"] == "Zoë\n"
    assert decoded["metadata"]["schemaVersion"] == 1
    assert decoded["data"]["orderTotalCents"] == 400
    assert decoded["data"]["createdAt"] == "2026-11-04T09:30:00.000Z"


def test_log_keys_are_ids_and_no_data() -> None:
    reason = ValidationFailureReason.UNKNOWN_CUSTOMER
    refused = CustomerValidationFailed(customer_id=1, order_id=7, reason=reason)
    of_customer = {"customer_id": 1, "order_id": 7}
    for event, ids in ((ORDER_CREATED, {"order_id": 7}), (refused, of_customer)):
        envelope = wrap(event, 3, Cause("a request"))

        assert envelope.log_keys == {
            "event_type": envelope.event_type,
            "event_id": envelope.metadata.event_id,
            "correlation_id": "a request",
            **ids,
        }


def test_only_optional_fields_may_be_missing() -> None:
    for part in ("metadata", "data"):
        for name in a_message()["detail"][part]:
            message = a_message()
            del message["detail"][part][name]
            if name in {"rejectionReason", "causationId"}:
                decode(message)
            else:
                with pytest.raises(InvalidEventError, match=name):
                    decode(message)


@dataclass(frozen=True, kw_only=True)
class OrderNoted(DomainEvent):
    source: ClassVar[str] = ORDERS
    aggregate_type: ClassVar[str] = "Order"
    note: str = "none"
    order_id: int

    @property
    def aggregate_id(self) -> int:
        return self.order_id


def test_field_added_with_a_default_is_decoded_from_older_events() -> None:
    decoder = EventDecoder([OrderNoted])
    message = to_message(wrap(OrderNoted(order_id=7, note="x")))
    assert decode(message, decoder).event == OrderNoted(order_id=7, note="x")

    del message["detail"]["data"]["note"]

    assert decode(message, decoder).event == OrderNoted(order_id=7)


def test_older_event_is_upcast_from_its_version_on(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = tuple(
        lambda data, step=step: {**data, "note": data["note"] + step} for step in (" 1-2", " 2-3")
    )
    messages = [to_message(wrap(OrderNoted(order_id=7, note="x")))]
    for version in (1, 2, 3):
        monkeypatch.setattr(OrderNoted, "upcasters", steps[: version - 1])
        messages.append(to_message(wrap(OrderNoted(order_id=7, note="x"))))

    decoded = [decode(message, EventDecoder([OrderNoted])) for message in messages]

    assert [e.event.note for e in decoded] == [*["x 1-2 2-3"] * 2, "x 2-3", "x"]  # type: ignore[attr-defined]
    assert {envelope.metadata.schema_version for envelope in decoded} == {3}
    invalid = {**messages[0], "detail": {**messages[0]["detail"], "data": []}}
    with pytest.raises(InvalidEventError):
        decode(invalid, EventDecoder([OrderNoted]))


def test_reason_of_a_failed_validation_of_version_1_is_the_unknown_customer() -> None:
    reason = ValidationFailureReason.CUSTOMER_ERASED
    message = to_message(wrap(CustomerValidationFailed(customer_id=1, order_id=7, reason=reason)))
    assert message["detail"]["metadata"]["schemaVersion"] == 2
    del message["detail"]["data"]["reason"]
    with pytest.raises(InvalidEventError, match="reason"):
        decode(message)

    message["detail"]["metadata"]["schemaVersion"] = 1

    event = decode(message).event
    assert isinstance(event, CustomerValidationFailed)
    assert event.reason is ValidationFailureReason.UNKNOWN_CUSTOMER


INSTANTS = ["2026-11-04T09:30:00.000", "2026-11-04", "2026-13-04T09:30:00.000Z", "yesterday"]
EDGES = ["0001-01-01T00:00:00.000+23:59", "9999-12-31T23:59:59.999-23:59"]
TEXTS: list[object] = [None, 5, True, [], {}, "", "\ud800", "x" * 1001, "Zoë" * 334]
IDS: list[object] = [None, "7", 7.0, True, False, 0, -7, MAX_ID + 1, 10**30]
WRONG: dict[str, dict[str, list[object]]] = {
    "data": {
        "orderId": [*IDS, 8],
        "customerId": IDS,
        "orderTotalCents": [None, "400", 4.0, True, 0, -1, -1_000_000, MAX_CENTS + 1],
        "state": [*TEXTS, "pending", "DONE", ["PENDING"]],
        "rejectionReason": ["BECAUSE", "", 1, False, {}],
        "createdAt": [*TEXTS, *INSTANTS, *EDGES, 1793784600],
    },
    "metadata": {
        "eventId": [*TEXTS, "a.b", "$a", an_event_id("x").upper(), f"{{{an_event_id('x')}}}"],
        "aggregateType": [*TEXTS, "Customer"],
        "aggregateId": [*TEXTS, 7, "8", "07"],
        "aggregateVersion": [None, "1", 1.0, True, -1, MAX_ID + 1],
        "occurredAt": [*TEXTS, *INSTANTS, *EDGES],
        "correlationId": TEXTS,
        "causationId": [value for value in TEXTS if value is not None],
        "schemaVersion": [None, 0, -1, "1", "2", 1.0, 2.0, True],
    },
}


def test_value_that_breaks_the_schema_is_invalid_and_not_quoted_in_the_reason() -> None:
    for part, fields in WRONG.items():
        names = a_message()["detail"][part].keys()
        assert fields.keys() == names, f"tests/unit/messaging/test_domain_event.py: WRONG[{part!r}]"
        for name, value in [(n, value) for n in fields for value in fields[n]]:
            message = a_message()
            message["detail"][part][name] = value
            with pytest.raises(InvalidEventError, match=f"{name}|aggregateId") as raised:
                pytest.fail(f"{name} = {value!r}: {decode(message)}")
            if isinstance(value, str) and len(value) > 5:
                assert value not in str(raised.value)


def test_values_at_the_bounds_are_valid() -> None:
    bounds: dict[str, list[object]] = {
        "customerId": [1, MAX_ID],
        "orderTotalCents": [1, MAX_CENTS],
        "createdAt": ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"],
    }
    for name, values in bounds.items():
        for value in values:
            message = a_message()
            message["detail"]["data"][name] = value
            assert to_message(decode(message)) == message
    message = a_message()
    message["detail"]["metadata"].update(correlationId="\U0001f600" * 1000, aggregateVersion=0)
    assert to_message(decode(message)) == message


@given(any_envelope())
def test_newer_schema_version_is_an_error_of_its_own_in_any_event(
    envelope: DomainEventEnvelope,
) -> None:
    message = to_message(envelope)
    message["detail"]["metadata"]["schemaVersion"] += 1
    del message["detail"]["data"]
    with pytest.raises(NewerSchemaVersionError, match=envelope.event_type):
        decode(message)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(json_values, json_values, json_values)
def test_any_other_json_is_an_invalid_event(
    source: object, detail_type: object, detail: object
) -> None:
    for message in ((source, detail_type, detail), (ORDERS, "OrderCreated", detail)):
        with pytest.raises(InvalidEventError):
            DECODER.decode(*message)


@given(any_envelope(), st.data())
def test_event_with_any_json_in_a_field_is_decoded_or_invalid(
    envelope: DomainEventEnvelope, data: st.DataObject
) -> None:
    message = to_message(envelope)
    part = data.draw(st.sampled_from(["metadata", "data"]))
    name = data.draw(st.sampled_from(sorted(message["detail"][part])))
    message["detail"][part][name] = data.draw(json_values)

    with suppress(InvalidEventError, NewerSchemaVersionError):
        decode(message)


def test_event_of_another_source_or_class_is_invalid() -> None:
    with pytest.raises(InvalidEventError, match="another"):
        decode({**a_message(), "source": "another"})
    with pytest.raises(InvalidEventError, match="OrderCreated"):
        decode(a_message(), EventDecoder([]))


def test_answer_to_an_event_has_an_id_derived_from_the_event_and_the_service_only() -> None:
    cause = Cause("a request", "an event")

    assert wrap(ORDER_CREATED, 1, cause).metadata.event_id == cause.effect_id(ORDERS)
    assert cause.effect_id(CUSTOMERS) == cause.effect_id(CUSTOMERS)
    assert cause.effect_id(CUSTOMERS) == Cause("another request", "an event").effect_id(CUSTOMERS)
    causes = [cause, Cause("a request", "another event")]
    assert len({c.effect_id(s) for c in causes for s in (CUSTOMERS, ORDERS)}) == 4
    assert Cause("a request").effect_id(ORDERS) != Cause("a request").effect_id(ORDERS)


@given(any_envelope(), any_envelope(), any_envelope())
def test_type_and_data_are_no_part_of_an_answers_id(
    question: DomainEventEnvelope, one: DomainEventEnvelope, other: DomainEventEnvelope
) -> None:
    cause = question.cause_of_effects
    answers = [wrap(e.event, 1, cause) for e in (one, other)]

    same_service = one.event.source == other.event.source
    assert (answers[0].metadata.event_id == answers[1].metadata.event_id) is same_service
    assert answers[0].metadata.causation_id == question.metadata.event_id
    assert answers[0].metadata.correlation_id == question.metadata.correlation_id
