"""The relay with a bus and a dead-letter queue in memory."""

from __future__ import annotations

import copy
import json
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import example, given
from hypothesis import strategies as st

from messaging import relay as relay_module
from messaging.relay import MAX_BYTES, Entry, EventsNotPublishedError, Relay
from tests.samples import load

KIB = 1024
THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": "..."}}, "PutEvents")
UNREACHABLE = EndpointConnectionError(endpoint_url="https://events")


class Bus:
    """A relay's bus. Each call gets the next of `answers`: an error, or an error code per entry's position."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []
        self.published: list[Any] = []
        self.letters: list[tuple[Any, str]] = []
        self.answers: deque[Exception | dict[int, str]] = deque()
        self.relay = Relay("the-bus", self)  # type: ignore[arg-type]
        self.relay.__dict__["_events"] = self

    def put_events(self, Entries: list[Any]) -> dict[str, Any]:  # noqa: N803, as boto3 has it
        self.calls.append([entry_id(entry) for entry in Entries])
        answer = self.answers.popleft() if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        self.published += [e for n, e in enumerate(Entries) if n not in answer]
        results: list[dict[str, str]] = [{"EventId": "id"} for _ in Entries]
        for n, code in answer.items():
            results[n] = {"ErrorCode": code, "ErrorMessage": "..."} if code else {}
        return {"FailedEntryCount": len(answer), "Entries": results}

    def send(self, body: str, reason: str) -> None:
        """Receive a dead letter."""
        self.letters.append((json.loads(body), reason))

    @property
    def published_ids(self) -> list[str]:
        return [entry_id(entry) for entry in self.published]


def entry_id(entry: Any) -> str:
    return str(json.loads(entry["Detail"])["metadata"]["eventId"])


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Bus:
    monkeypatch.setattr(relay_module, "time", SimpleNamespace(sleep=lambda _: None))
    return Bus()


def records() -> list[dict[str, Any]]:
    sample: list[dict[str, Any]] = load("orders_outbox_relay_batch")["Records"]
    return sample


def image(record: dict[str, Any]) -> dict[str, Any]:
    new_image: dict[str, Any] = record["dynamodb"]["NewImage"]
    return new_image


IDS = [image(record)["eventId"]["S"] for record in records()]


def change_detail(record: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> None:
    detail = json.loads(image(record)["detail"]["S"])
    change(detail)
    image(record)["detail"]["S"] = json.dumps(detail)


def test_entry_is_the_outbox_item_unchanged_and_its_size_is_in_bytes(bus: Bus) -> None:
    record = records()[0]
    image(record).update(eventType={"S": "Zoë"}, source={"S": "s"})

    (published,) = bus.relay.publish([record]).published

    detail = image(record)["detail"]["S"]
    entry = {"EventBusName": "the-bus", "Source": "s", "DetailType": "Zoë", "Detail": detail}
    assert bus.published == [entry]
    decoded = json.loads(detail)
    assert published.log_keys == {
        "event_type": "Zoë",
        "event_id": IDS[0],
        "correlation_id": decoded["metadata"]["correlationId"],
        "order_id": decoded["data"]["orderId"],
    }
    assert published.size == 1 + 4 + len(detail)


def test_entry_of_a_customers_event_is_logged_with_the_customers_id(bus: Bus) -> None:
    record = records()[0]
    change_detail(record, lambda d: d["metadata"].update(aggregateType="Customer"))

    (published,) = bus.relay.publish([record]).published

    data = json.loads(image(record)["detail"]["S"])["data"]
    assert published.log_keys["customer_id"] == data["customerId"]


def test_valid_trace_header_is_passed_on_and_any_other_is_dropped(bus: Bus) -> None:
    header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    valid = [header, "x", "x" * 500]
    values = [*({"S": v} for v in valid), {"N": "1"}, {"S": 1}, {"S": ""}, {"S": "x" * 501}]
    batch = [copy.deepcopy(records()[0]) for _ in values]
    for record, value in zip(batch, values, strict=True):
        image(record)["traceHeader"] = value

    bus.relay.publish(batch)

    assert [entry.get("TraceHeader") for entry in bus.published] == [*valid, *[None] * 4]
    assert bus.letters == []


def test_event_of_any_schema_version_is_published(bus: Bus) -> None:
    record = records()[0]
    change_detail(record, lambda d: d["metadata"].update(schemaVersion=99))

    bus.relay.publish([record])

    assert bus.published_ids == IDS[:1]
    assert bus.letters == []


@given(st.lists(st.integers(1, MAX_BYTES), max_size=40))
@example([MAX_BYTES - 1, 1])
def test_no_call_exceeds_the_limits_and_all_entries_are_sent_in_order(sizes: list[int]) -> None:
    entries = [Entry({}, {}, size, {"number": n}) for n, size in enumerate(sizes)]

    chunks = list(Bus().relay._chunks(entries))

    assert [entry for chunk in chunks for entry in chunk] == entries
    for chunk in chunks:
        assert 1 <= len(chunk) <= 10
        assert sum(entry.size for entry in chunk) <= 256 * KIB
    for chunk, (following, *_) in pairwise(chunks):
        assert len(chunk) == 10 or sum(e.size for e in [*chunk, following]) > 256 * KIB


def test_client_has_time_outs_of_seconds_and_its_own_name_and_does_not_retry() -> None:
    dead_letters: Any = None
    config: Any = Relay("the-bus", dead_letters)._events.meta.config

    assert (config.connect_timeout, config.read_timeout) == (1, 3)
    assert config.retries["total_max_attempts"] == 1
    assert config.user_agent.startswith("customers-and-orders")


def test_only_refused_entries_are_retried_in_order(bus: Bus) -> None:
    first, second, third, fourth = IDS
    bus.answers.append({0: "InternalFailure", 2: "ThrottlingException", 3: "ThrottlingException"})
    bus.answers.append({1: ""})  # neither an id nor an error code: not published

    bus.relay.publish(records())

    assert bus.calls == [[first, second, third, fourth], [first, third, fourth], [third]]
    assert sorted(bus.published_ids) == sorted(IDS)


def test_refusals_are_logged_with_their_codes(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    bus.answers.extend([THROTTLED, {0: "B", 1: "A", 2: "B", 3: ""}])

    bus.relay.publish(records())

    failed, refused = (vars(record) for record in caplog.records)
    assert "ThrottlingException" in failed["reason"]
    assert (refused["refused"], refused["codes"]) == (4, ["A", "B"])


def test_answer_without_a_result_for_each_entry_fails_the_batch(bus: Bus) -> None:
    bus.__dict__["put_events"] = lambda **_: {"Entries": []}

    with pytest.raises(ValueError, match="shorter"):
        bus.relay.publish(records())


def test_chunks_of_ten_are_sent_in_order_and_wait_for_refused_entries(bus: Bus) -> None:
    bus.answers.append({9: "ThrottlingException"})

    bus.relay.publish(records() * 6)

    assert [len(call) for call in bus.calls] == [10, 1, 10, 4]
    assert bus.calls[1] == bus.calls[0][9:]
    assert bus.published_ids == IDS * 6


def test_failed_call_is_retried_with_growing_pauses(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[Any] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return low

    monkeypatch.setattr(relay_module, "random", SimpleNamespace(uniform=uniform))
    bus.answers.extend([THROTTLED, UNREACHABLE, THROTTLED])

    bus.relay.publish(records())

    assert bus.calls == [IDS] * 4
    assert bounds == [(0, 0.1), (0, 0.2), (0, 0.4)]


def test_batch_fails_after_four_attempts_without_dead_letters_and_is_then_published_whole(
    bus: Bus,
) -> None:
    refusals: list[Exception | dict[int, str]] = [THROTTLED, UNREACHABLE, {0: "InternalFailure"}]
    for answer in refusals:
        bus.published.clear()
        bus.answers.extend([answer] * 4)
        batch = [*records(), {"dynamodb": {}}]

        with pytest.raises(EventsNotPublishedError):
            bus.relay.publish(batch)
        assert IDS[0] not in bus.published_ids
        assert bus.letters == []
    bus.published.clear()

    assert bus.relay.publish(batch).dead_letters == 1

    assert bus.published_ids == IDS
    assert len(bus.letters) == 1


def test_permanently_refused_entry_is_dead_lettered_at_once_and_throttled_ones_are_retried(
    bus: Bus,
) -> None:
    for code in ("InvalidArgument", "MalformedDetail", "NotAuthorizedForSource"):
        bus.calls.clear()
        bus.letters.clear()
        bus.answers.append({1: code, 2: "ThrottlingException"})

        result = bus.relay.publish(records())

        assert bus.calls == [IDS, [IDS[2]]]
        assert bus.letters == [(records()[1], f"{code}: ...")]
        assert (len(result.published), result.dead_letters) == (3, 1)


def replaced(path: str, value: object) -> dict[str, Any]:
    """Return the second record with another value at the path below `NewImage`; without it for `...`."""
    record = records()[1]
    *names, last = path.split(".")
    parent = image(record)
    for name in names:
        parent = parent[name]
    parent[last] = value
    if value is ...:
        del parent[last]
    return record


METADATA = {"metadata": json.loads(image(records()[1])["detail"]["S"])["metadata"]}
NO_DATA: list[dict[str, Any]] = [{}, {"data": None}, {"data": []}, {"data": "text"}]
INVALID: list[dict[str, Any]] = [
    *({}, {"dynamodb": {}}, {"dynamodb": []}, {"dynamodb": {"NewImage": []}}),
    *(replaced(name, ...) for name in ("source", "eventType", "detail", "detail.S")),
    *(replaced(name, {"N": "1"}) for name in ("source", "eventType", "detail")),
    *(replaced(f"{name}.S", 5) for name in ("source", "eventType", "detail")),
    replaced("source.S", "\ud800"),
    replaced("traceHeader", ["a list"]),
    *(replaced("detail.S", text) for text in ("", "not JSON", "[" * 100_000, "[]", "null", "{}")),
    replaced("detail.S", '{"metadata": {}, "data": {}}'),
    replaced("detail.S", '{"metadata": {"schemaVersion": 2}}'),
    *(replaced("detail.S", json.dumps(METADATA | data)) for data in NO_DATA),
]


def test_record_that_is_no_event_is_dead_lettered_and_its_neighbours_are_published(
    bus: Bus,
) -> None:
    first, _, *others = records()
    for invalid in INVALID:
        bus.published.clear()
        bus.letters.clear()

        result = bus.relay.publish([first, invalid, *others])

        assert bus.published_ids == [IDS[0], *IDS[2:]], invalid
        ((letter, reason),) = bus.letters
        assert letter == json.loads(json.dumps(invalid))
        assert reason
        assert result.dead_letters == 1


def padded(size: int) -> dict[str, Any]:
    """Return the first record with an entry of `size` bytes."""
    record = records()[0]
    change_detail(record, lambda d: d["data"].update(padding=""))
    missing = size - sum(len(image(record)[n]["S"]) for n in ("source", "eventType", "detail"))
    change_detail(record, lambda d: d["data"].update(padding="x" * missing))
    return record


def test_record_too_large_for_the_bus_is_dead_lettered_as_its_keys(bus: Bus) -> None:
    largest, too_large = padded(256 * KIB), padded(256 * KIB + 1)

    bus.relay.publish([largest, too_large])

    assert [entry["Detail"] for entry in bus.published] == [image(largest)["detail"]["S"]]
    ((letter, reason),) = bus.letters
    assert letter == {"dynamodb": {"Keys": too_large["dynamodb"]["Keys"]}}
    assert "bytes" in reason


def test_invalid_record_of_at_most_240_kib_is_a_whole_dead_letter(bus: Bus) -> None:
    keys = {"Keys": {"eventId": {"S": "x"}}}
    length = 240 * KIB - len(json.dumps({"dynamodb": {**keys, "padding": ""}}))
    whole, cut = ({"dynamodb": {**keys, "padding": "x" * n}} for n in (length, length + 1))
    without_keys = {"dynamodb": {"padding": "x" * 240 * KIB}}

    result = bus.relay.publish([whole, cut, without_keys])

    letters = [whole, {"dynamodb": keys}, {"dynamodb": {"Keys": {}}}]
    assert [letter for letter, _ in bus.letters] == letters
    assert result.dead_letters == 3
