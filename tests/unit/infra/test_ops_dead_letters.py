"""Dead letters: shown, sent back, edited and deleted, whatever they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from infra.ops.dead_letters import DeadLetterQueues
from infra.ops.edit import MAX_BYTES, Edit
from infra.ops.letter import Letter
from infra.ops.relay import Relay
from infra.ops.show import describe, groups
from infra.ops.target import OperateError
from infra.terminal import clean
from tests.unit.infra.ops_stack import HOSTILE, OpsStack

QUEUE, DEAD = "OrdersSubscriberQueue", "OrdersSubscriberDeadLetterQueue"
RELAY_DEAD = "OrdersOutboxRelayDeadLetterQueue"
NAME = ("--queue", "orders-subscriber")
RELAY_NAME = ("--queue", "orders-outbox-relay")
EVENT = {
    "source": "customers-and-orders.orders",
    "detail-type": HOSTILE,
    "detail": {
        "metadata": {"eventId": HOSTILE, "correlationId": HOSTILE, "aggregateId": "7"},
        "data": {"orderId": 7, "name": HOSTILE},
    },
}
SHAPES: list[object] = [
    EVENT,
    {**EVENT, "detail": [1, 2]},
    {**EVENT, "detail": {"metadata": 5, "data": {"orderId": 10**30}}},
    {**EVENT, "detail": {"metadata": {"eventId": {"a": 1}}, "data": None}},
    {"detail-type": ["x"], "detail": None, "source": {}},
    {"detail-type": "x" * 200_000, "detail": {"metadata": {"eventId": "y" * 200_000}}},
    {"DDBStreamBatchInfo": "no object", "requestContext": 1},
    {"dynamodb": {"Keys": [1], "NewImage": {"detail": {"S": "[" * 10_000}}}},
    [1],
    None,
    12,
    '"\\ud800"',
    "[" * 100_000,
    "not JSON \u202e",
]


@pytest.fixture
def stack(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpsStack]:
    monkeypatch.setattr("infra.ops.dead_letters.LONG_POLL_SECONDS", 0)
    with mock_aws():
        yield OpsStack.deploy("shop", capsys)


def assert_harmless(output: str) -> None:
    assert all(character.isprintable() or character == "\n" for character in output)


# Hostile content


@given(st.text(), st.integers(0, 50))
def test_cleaned_text_is_printable_and_not_longer_than_asked(text: str, limit: int) -> None:
    cleaned = clean(text, limit)

    assert cleaned.isprintable()
    assert text.isprintable() is (clean(text) == text)
    assert len(text) <= limit or cleaned.endswith(f"... ({len(text):,} characters)")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.recursive(
        json_values,
        lambda inner: st.dictionaries(
            st.sampled_from(
                [
                    "detail",
                    "detail-type",
                    "metadata",
                    "eventId",
                    "data",
                    "orderId",
                    "dynamodb",
                    "Keys",
                    "NewImage",
                    "S",
                    "DDBStreamBatchInfo",
                    "requestContext",
                    "condition",
                    "source",
                ]
            ),
            inner,
        ),
        max_leaves=20,
    )
)
def test_a_letter_of_any_shape_can_be_read_and_shown(body: object) -> None:
    message = {"MessageId": "m", "ReceiptHandle": "r", "Body": json.dumps(body)}

    letter = Letter.of(message)

    assert len(groups("queue", [letter])) == 1
    assert [clean(line) for line in describe("queue", letter)]
    assert all(isinstance(text, str) for text in (letter.reason, letter.event_type, str(letter)))


def test_hostile_letters_are_shown_and_listed_without_harm(stack: OpsStack) -> None:
    ids = [stack.put(DEAD, shape, reason="x[/b]\u202e") for shape in SHAPES]

    code, output = stack.run("dlq")
    assert code == 0
    assert "[/b]" in output
    assert_harmless(output)
    code, output = stack.run("dlq", *NAME)
    assert (code, all(i in output for i in ids)) == (0, True)
    assert_harmless(output)
    assert max(map(len, output.splitlines())) < 2000
    for message_id in ids:
        code, output = stack.run("dlq", "--show", message_id)
        assert (code, message_id in output) == (0, True), output
        assert_harmless(output)
    assert len(stack.messages(DEAD)) == len(ids), "all are visible again"

    code, output = stack.run("redrive", *NAME)
    assert code == 0
    assert_harmless(output)
    assert len(stack.messages(QUEUE)) == len(ids)


def test_the_whole_letter_is_shown_with_its_saga(stack: OpsStack) -> None:
    message_id = stack.put(DEAD, {**EVENT, "padding": "z" * 200_000})
    orders = stack.target.client("dynamodb")
    order = {"orderId": {"N": "7"}, "state": {"S": "PENDING"}}
    orders.put_item(TableName=stack.target.resource("Orders"), Item=order)

    _, output = stack.run("dlq", "--show", message_id)

    assert "z" * 200_000 in output
    assert "OrdersOutbox does not have this event" in output
    assert "Order 7 is PENDING" in output


# Groups and limits


def test_letters_are_grouped_by_reason_with_counts(stack: OpsStack) -> None:
    for number in range(12):
        stack.put(DEAD, {"detail-type": "A", "n": number}, reason="broken")
    stack.put(DEAD, {"detail-type": "B"})

    _, output = stack.run("dlq")
    rows = [line.split()[:3] for line in output.splitlines()[1:]]

    assert rows == [["orders-subscriber", "12", "broken"], ["orders-subscriber", "1", "the"]]
    _, output = stack.run("dlq", "--limit", "5")
    assert "5 of about 13 letters are shown" in output


def test_redrive_sends_more_than_a_hundred_letters(stack: OpsStack) -> None:
    for start in range(0, 110, 10):
        entries = [{"Id": str(n), "MessageBody": str(n)} for n in range(start, start + 10)]
        stack.sqs.send_message_batch(QueueUrl=stack.target.queue_url(DEAD), Entries=entries)

    code, output = stack.run("redrive", *NAME)

    assert (code, "110 sent back, 0 stayed, 0 left" in output) == (0, True)
    assert stack.messages(DEAD) == []
    assert len(stack.messages(QUEUE)) == 110


def test_letters_over_the_limit_are_counted_and_the_exit_code_is_1(stack: OpsStack) -> None:
    for number in range(30):
        stack.put(DEAD, str(number))

    code, output = stack.run("redrive", *NAME, "--limit", "12")

    assert (code, "12 sent back, 0 stayed, 18 left" in output) == (1, True)
    assert len(stack.messages(DEAD)) == 18


def test_letters_in_flight_are_counted_as_left(stack: OpsStack) -> None:
    stack.put(DEAD, "held")
    stack.sqs.receive_message(QueueUrl=stack.target.queue_url(DEAD), VisibilityTimeout=600)

    code, output = stack.run("redrive", *NAME)

    assert (code, "0 sent back, 0 stayed, 1 left" in output) == (1, True)
    _, output = stack.run("dlq")
    assert "0 of about 1 letters are shown" in output


def test_one_malformed_letter_stays_and_the_others_are_sent(
    stack: OpsStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[Any] = []
    monkeypatch.setattr(Relay, "__init__", _relay_without_function)
    monkeypatch.setattr(Relay, "publish", lambda _, items: published.extend(items))
    times = {f"approximateArrivalOf{e}Record": "2026-01-01T00:00:00Z" for e in ("First", "Last")}
    malformed: list[object] = [
        {"DDBStreamBatchInfo": "no object"},
        {"DDBStreamBatchInfo": {}},
        {"DDBStreamBatchInfo": {"approximateArrivalOfFirstRecord": 5}},
        {"dynamodb": {"Keys": [1]}},
        {"dynamodb": {"Keys": {"aggregateId": {"S": "gone"}, "eventId": {"S": "gone"}}}},
        "no JSON",
        [],
    ]
    item = {"aggregateId": {"S": "7"}, "eventId": {"S": "e"}}
    for body in [*malformed, {"DDBStreamBatchInfo": times}]:
        stack.put(RELAY_DEAD, body)
    stack.put(RELAY_DEAD, {"dynamodb": {"Keys": item, "NewImage": item}})

    code, output = stack.run("redrive", *RELAY_NAME)

    assert (code, f"2 sent back, {len(malformed)} stayed, 0 left" in output) == (1, True), output
    assert published == [item]
    assert len(stack.messages(RELAY_DEAD)) == len(malformed), "they are visible again"


def _relay_without_function(relay: Any, target: Any, service: str) -> None:
    relay._dynamodb, relay._outbox = target.client("dynamodb"), target.resource(f"{service}Outbox")


def test_a_failing_queue_keeps_the_letters(stack: OpsStack) -> None:
    stack.put(DEAD, "kept")
    url = stack.target.queue_url(QUEUE)
    stack.target.resources  # noqa: B018, read before the queue is deleted
    queues = DeadLetterQueues(stack.target)
    seen: list[str] = []
    send = queues._sender("orders-subscriber", None)
    stack.sqs.delete_queue(QueueUrl=url)

    queues._sender = lambda *_: send  # type: ignore[method-assign]
    done = queues.redrive("orders-subscriber", 10, lambda _, result: seen.append(result))

    assert (done.chosen, done.stayed) == (1, 1)
    assert seen[0].startswith("stays: ")
    assert stack.bodies(DEAD) == ["kept"]


def test_an_interrupt_makes_the_letters_visible_again(stack: OpsStack) -> None:
    for number in range(25):
        stack.put(DEAD, str(number))
    queues = DeadLetterQueues(stack.target)

    def interrupt(letter: Letter, _: str) -> None:
        if letter.text == sent[0]:
            raise KeyboardInterrupt

    sent = stack.bodies(DEAD)
    with pytest.raises(KeyboardInterrupt):
        queues.redrive("orders-subscriber", 100, interrupt)

    assert sorted(stack.bodies(DEAD) + stack.bodies(QUEUE)) == sent
    assert stack.bodies(DEAD), "not all had been sent"


# One letter


def test_a_dry_run_changes_nothing(stack: OpsStack) -> None:
    stack.put(DEAD, "a")

    code, output = stack.run("redrive", *NAME, "--dry-run")

    assert (code, "1 would be sent back" in output) == (0, True)
    assert (stack.bodies(DEAD), stack.bodies(QUEUE)) == (["a"], [])


def test_one_letter_is_sent_back_and_the_others_stay(stack: OpsStack) -> None:
    ids = [stack.put(DEAD, str(number)) for number in range(25)]

    code, _ = stack.run("redrive", *NAME, "--message", ids[20])

    assert code == 0
    assert stack.bodies(QUEUE) == ["20"]
    assert len(stack.bodies(DEAD)) == 24
    for command in ("redrive", "discard"):
        code, output = stack.run(command, *NAME, "--message", "no-such-id")
        assert (code, "There is no letter no-such-id" in output) == (1, True)
    assert stack.run("dlq", "--show", "no-such-id")[0] == 1


def test_an_edit_keeps_the_first_original_and_says_who_and_when(
    stack: OpsStack, tmp_path: Path
) -> None:
    file = tmp_path / "edited.json"
    body, texts = '{"original": true}', dict[str, str]()
    for number in (1, 2):
        message_id = stack.put(DEAD, body, **texts)
        file.write_text(json.dumps({"edited": number}))
        assert stack.run("redrive", *NAME, "--message", message_id, "--edit", str(file))[0] == 0
        body, texts = stack.take(QUEUE)

    assert json.loads(body) == {"edited": 2}
    assert texts["originalBody"] == '{"original": true}'
    assert "@" in texts["editedBy"]
    assert texts["editedAt"].startswith("20")

    # A later failure: the edit is shown, and stays with the message.
    message_id = stack.put(DEAD, body, **texts)
    assert texts["editedBy"] in stack.run("dlq", "--show", message_id)[1]
    stack.run("redrive", *NAME)
    assert stack.take(QUEUE) == (body, texts)


def test_a_large_original_is_kept_in_a_file_that_the_command_names(
    stack: OpsStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    original = "o" * (MAX_BYTES - 100)
    message_id = stack.put(DEAD, original)
    (tmp_path / "edited.json").write_text(json.dumps({"new": "n" * 200}))

    code, output = stack.run(
        "redrive", *NAME, "--message", message_id, "--edit", str(tmp_path / "edited.json")
    )

    kept = tmp_path / f"dead-letter-{message_id}.original"
    assert (code, str(kept) in output) == (0, True)
    assert kept.read_text() == original
    assert stack.take(QUEUE)[1]["originalBodyFile"] == str(kept)


def test_edits_that_cannot_be_sent_are_refused(stack: OpsStack, tmp_path: Path) -> None:
    file = tmp_path / "edited.json"
    for body in ("[1]", "no JSON", "12", '"text"'):
        file.write_text(body)
        with pytest.raises(OperateError, match="EDIT="):
            Edit.of(file, stack.target)
    with pytest.raises(OperateError, match="No such file"):
        Edit.of(tmp_path / "missing.json", stack.target)
    file.write_text("{}")
    message_id = stack.put(RELAY_DEAD, "a")
    edit = ("--edit", str(file))
    assert stack.run("redrive", *NAME, *edit)[0] == 2, "MESSAGE is needed"
    assert stack.run("redrive", *RELAY_NAME, "--message", message_id, *edit)[0] == 1
    assert stack.bodies(RELAY_DEAD) == ["a"]


def test_the_body_of_a_letter_is_saved_unchanged(stack: OpsStack, tmp_path: Path) -> None:
    body = json.dumps({"b": "\u202eé\x1b", "a": 1})
    message_id = stack.put(DEAD, body)

    stack.run("dlq", "--show", message_id, "--save", str(tmp_path / "letter.json"))

    assert (tmp_path / "letter.json").read_text() == body


def test_discard_asks_and_deletes_one_letter(
    stack: OpsStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.put(DEAD, "kept")
    message_id = stack.put(DEAD, "deleted")
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")

    code, output = stack.run("discard", *NAME, "--message", message_id)
    assert (code, "deleted" in output) == (130, True), "the letter is shown"
    assert stack.bodies(DEAD) == ["deleted", "kept"]

    assert stack.run("discard", *NAME, "--message", message_id, "--yes")[0] == 0
    assert stack.bodies(DEAD) == ["kept"]


# Queues


def test_two_stacks_keep_their_queues_apart(
    stack: OpsStack, capsys: pytest.CaptureFixture[str]
) -> None:
    other = OpsStack.deploy("shop-dev", capsys)
    other.put(DEAD, "dev")

    assert "all empty" in stack.run("dlq")[1]
    assert "0 sent back" in stack.run("redrive", *NAME)[1]
    assert other.bodies(DEAD) == ["dev"]


def test_a_queue_is_named_exactly(stack: OpsStack) -> None:
    queues = DeadLetterQueues(stack.target)

    assert queues.names() == ["orders-outbox-relay", "orders-subscriber"]
    for text in ("orders-subscriber", "shop-orders-subscriber-dead-letters"):
        assert queues.find(text) == "orders-subscriber"
    for text in ("", "orders", "nobody"):
        code, output = stack.run("redrive", "--queue", text)
        assert (code, "Choose from: orders-outbox-relay, orders-subscriber" in output) == (1, True)
