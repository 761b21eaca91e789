"""Dead letters: shown, sent back, edited and deleted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import boto3
import pytest

from infra.ops.dead_letters import DeadLetterQueues
from infra.ops.letter import MAX_BYTES, Edit
from infra.ops.target import OperateError, Target
from tests.unit.infra.conftest import OpsStack

QUEUE, DEAD = "OrdersSubscriberQueue", "OrdersSubscriberDeadLetterQueue"
RELAY_DEAD = "OrdersOutboxRelayDeadLetterQueue"
NAME = ("--queue", "orders-subscriber")
RELAY_NAME = ("--queue", "orders-outbox-relay")


def test_the_whole_letter_is_shown_with_its_saga_and_saved_unchanged(
    stack: OpsStack, tmp_path: Path
) -> None:
    detail = {"metadata": {"eventId": "e", "aggregateId": "7"}, "data": {"orderId": 7}}
    source = "customers-and-orders.orders"
    body = json.dumps({"detail": detail, "source": source, "padding": "é\u202e" + "z" * 200_000})
    message_id = stack.put(DEAD, body)
    stack.put_item("Orders", orderId=7, state="PENDING")

    _, output = stack.run("dlq", "--show", message_id, "--save", str(tmp_path / "letter.json"))

    assert "z" * 200_000 in output
    assert "OrdersOutbox does not have this event" in output
    assert "Order 7 is PENDING" in output
    assert (tmp_path / "letter.json").read_text() == body


def test_letters_are_grouped_by_reason_with_counts(stack: OpsStack) -> None:
    for number in range(12):
        stack.put(DEAD, {"detail-type": "A", "n": number}, reason="broken")
    stack.put(DEAD, {"detail-type": "B"})

    _, output = stack.run("dlq")

    rows = [line.split()[:3] for line in output.splitlines()[1:]]
    assert rows == [["orders-subscriber", "12", "broken"], ["orders-subscriber", "1", "the"]]
    assert "5 of about 13 letters are shown" in stack.run("dlq", "--limit", "5")[1]


def test_redrive_sends_up_to_the_limit_and_counts_the_letters_that_are_left(
    stack: OpsStack,
) -> None:
    for start in range(0, 120, 10):
        entries = [{"Id": str(n), "MessageBody": str(n)} for n in range(start, start + 10)]
        url = stack.target.queue_url(DEAD)
        stack.target.sqs.send_message_batch(QueueUrl=url, Entries=entries)

    for arguments, code, text in (
        (("--limit", "12"), 1, "12 sent back, 0 stayed, 108 left"),
        ((), 0, "108 sent back, 0 stayed, 0 left"),
    ):
        found, output = stack.run("redrive", *NAME, *arguments)
        assert (found, text in output) == (code, True), output[-200:]
    assert stack.bodies(DEAD) == []
    assert len(stack.bodies(QUEUE)) == 120


def test_letters_in_flight_are_counted_as_left(stack: OpsStack) -> None:
    stack.put(DEAD, "held")
    stack.target.sqs.receive_message(QueueUrl=stack.target.queue_url(DEAD), VisibilityTimeout=600)

    code, output = stack.run("redrive", *NAME)

    assert (code, "0 sent back, 0 stayed, 1 left" in output) == (1, True)
    assert "0 of about 1 letters are shown" in stack.run("dlq")[1]


def test_malformed_letters_of_a_relay_stay_and_the_others_are_published(
    stack: OpsStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[Any] = []
    monkeypatch.setattr("infra.ops.dead_letters.publish", lambda *call: published.extend(call[-1]))
    times = {f"approximateArrivalOf{e}Record": "2026-01-01T00:00:00Z" for e in ("First", "Last")}
    keys = {"aggregateId": {"S": "7"}, "eventId": {"S": "stored"}}
    stack.put_item(
        "OrdersOutbox", aggregateId="7", eventId="stored", occurredAt="2026-01-01T00:00:01Z"
    )
    stack.put_item("OrdersOutbox", aggregateId="7", eventId="later", occurredAt="2026-01-02")
    gone = {"aggregateId": {"S": "gone"}, "eventId": {"S": "gone"}}
    malformed: list[object] = [
        {"DDBStreamBatchInfo": "no object"},
        {"DDBStreamBatchInfo": {"approximateArrivalOfFirstRecord": 5}},
        {"dynamodb": {"Keys": [1]}},
        {"dynamodb": {"Keys": gone}},
        "no JSON",
        [],
    ]
    for body in [
        *malformed,
        {"DDBStreamBatchInfo": times},
        {"dynamodb": {"Keys": keys}},
        {"dynamodb": {"Keys": gone, "NewImage": gone}},
    ]:
        stack.put(RELAY_DEAD, body)

    code, output = stack.run("redrive", *RELAY_NAME)

    assert (code, f"3 sent back, {len(malformed)} stayed, 0 left" in output) == (1, True), output
    assert sorted(event.id for event in published) == ["gone", "stored", "stored"]
    assert len(stack.bodies(RELAY_DEAD)) == len(malformed), "they are visible again"


def test_letters_stay_if_their_queue_cannot_be_written(stack: OpsStack) -> None:
    stack.put(DEAD, "kept")
    url = stack.target.queue_url(QUEUE)
    stack.target.sqs.delete_queue(QueueUrl=url)

    code, output = stack.run("redrive", *NAME)

    assert (code, "0 sent back, 1 stayed" in output, ": stays: " in output) == (1, True, True)
    assert stack.bodies(DEAD) == ["kept"]


def test_an_interrupt_makes_the_letters_visible_again(
    stack: OpsStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(25):
        stack.put(DEAD, str(number))
    before = stack.bodies(DEAD)

    say = MagicMock(side_effect=[None] * 7 + [KeyboardInterrupt])
    monkeypatch.setattr("infra.ops.dead_letters.say", say)

    assert stack.run("redrive", *NAME)[0] == 130

    assert len(stack.bodies(QUEUE)) == 8
    assert sorted(stack.bodies(DEAD) + stack.bodies(QUEUE)) == before


def test_a_message_id_chooses_one_letter(stack: OpsStack, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [stack.put(DEAD, str(number)) for number in range(25)]
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")

    for arguments, code, text in (
        (("redrive", *NAME, "--dry-run"), 0, "25 would be sent back, 0 stayed, 0 left"),
        (("redrive", *NAME, "--message", ids[20]), 0, "1 sent back, 0 stayed, 0 left"),
        (("discard", *NAME, "--message", ids[3]), 130, "message           " + ids[3]),
        (("discard", *NAME, "--message", ids[4], "--yes"), 0, "deleted"),
        (("redrive", *NAME, "--message", "none"), 1, "There is no letter none"),
        (("discard", *NAME, "--message", "none"), 1, "There is no letter none"),
        (("discard", *NAME), 1, "(set MESSAGE)"),
        (("dlq", "--show", "none"), 1, "There is no letter none"),
    ):
        found, output = stack.run(*arguments)
        assert (found, text in output) == (code, True), output

    assert stack.bodies(QUEUE) == ["20"]
    assert {str(number) for number in range(25)} - set(stack.bodies(DEAD)) == {"20", "4"}


def test_an_edit_keeps_the_first_original_its_author_and_its_time(
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


def test_edits_that_cannot_be_sent_are_refused(stack: OpsStack, tmp_path: Path) -> None:
    file = tmp_path / "edited.json"
    for body in ("[1]", "no JSON", "12", '"text"', None):
        file.unlink(missing_ok=True)
        if body is not None:
            file.write_text(body)
        with pytest.raises(OperateError, match="EDIT="):
            Edit.of(file, stack.target)
    file.write_text("{}")
    large, of_relay = stack.put(DEAD, "o" * MAX_BYTES), stack.put(RELAY_DEAD, "a")
    edit = ("--edit", str(file))
    for arguments, code, text in (
        (NAME, 2, "EDIT needs MESSAGE"),
        ((*NAME, "--message", large), 1, "stays: The original and the edited body"),
        ((*RELAY_NAME, "--message", of_relay), 1, "EDIT does not work"),
    ):
        found, output = stack.run("redrive", *arguments, *edit)
        assert (found, text in output) == (code, True), output
    assert stack.bodies(DEAD) + stack.bodies(RELAY_DEAD) == ["o" * MAX_BYTES, "a"]


def test_two_stacks_keep_their_queues_apart(stack: OpsStack) -> None:
    other = OpsStack(Target("embedded", boto3.Session(), stack_name="shop-dev")).deploy()
    other.put(DEAD, "dev")

    assert "all empty" in stack.run("dlq")[1]
    assert "0 sent back" in stack.run("redrive", *NAME)[1]
    assert other.bodies(DEAD) == ["dev"]


def test_a_queue_is_named_exactly(stack: OpsStack) -> None:
    queues = DeadLetterQueues(stack.target)

    names = ["customers-outbox-relay", "customers-subscriber", "order-history-projection"]
    names += ["orders-outbox-relay", "orders-subscriber"]
    assert queues.names() == names
    for text in ("orders-subscriber", "shop-orders-subscriber-dead-letters"):
        assert queues.find(text) == "orders-subscriber"
    for text in ("", "orders", "unknown"):
        code, output = stack.run("redrive", "--queue", text)
        assert (code, f"Choose from: {', '.join(names)}" in output) == (1, True)
