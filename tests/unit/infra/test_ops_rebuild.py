"""Driving the rebuild function to the end of all parts, despite failures and interrupts."""

from __future__ import annotations

import _thread
import io
import json
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.ops.rebuild import HistoryRebuild, Part
from infra.ops.target import OperateError
from tests.unit.infra.conftest import OpsStack


class FakeFunction:
    """Two parts, each of which takes three steps. The first `failures` invocations fail."""

    def __init__(self, failures: int = 0, after_a_step: Callable[[], None] = lambda: None) -> None:
        self.parts: list[Part] = [
            {"_id": name, "read": 0, "projected": 0, "unreadable": 0, "state": "open"}
            for name in ("Customers", "Orders")
        ]
        self.commands: list[str] = []
        self.view_is_deleted = False
        self.retention_days = 0
        self._failures, self._after_a_step = failures, after_a_step

    def invoke(self, FunctionName: str, Payload: str) -> Any:  # noqa: N803, boto3's names
        command = json.loads(Payload)
        self.commands.append(command["command"])
        if len(self.commands) <= self._failures:
            return _answer({"errorMessage": "no database"}, FunctionError="Unhandled")
        for part in self.parts:
            if part["_id"] == command.get("part"):
                part["read"] += 1
                part["state"] = "done" if part["read"] == 3 else "open"
                self._after_a_step()
        parts = [] if self.view_is_deleted else self.parts
        return _answer({"parts": parts, "retentionDays": self.retention_days})


def _answer(payload: Any, **fields: str) -> Any:
    return {"Payload": io.BytesIO(json.dumps(payload).encode()), **fields}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.ops.rebuild.PAUSE_SECONDS", 0.0)


def driving(function: FakeFunction) -> HistoryRebuild:
    target = SimpleNamespace(client=lambda *_: function, resource=lambda name: name)
    return HistoryRebuild(cast("Any", target), parallel=2)


@pytest.mark.parametrize("failures", [0, 4])
def test_every_part_is_read_to_its_end_despite_failures(failures: int) -> None:
    function = FakeFunction(failures)
    function.parts[0]["unreadable"] = 3
    rebuild = driving(function)

    rebuild.run(function.parts)

    assert [part["state"] for part in function.parts] == ["done", "done"]
    assert function.commands[-1] == "end"
    counts = "6 events read, 0 projected, 3 unreadable (see the function's log); 2 of 2 parts done;"
    assert rebuild.summary().startswith(counts)


@pytest.mark.parametrize("fault", ["no database", "deleted during the rebuild"])
def test_a_rebuild_that_cannot_go_on_ends_with_the_reason(fault: str) -> None:
    function = FakeFunction(failures=1000 if fault == "no database" else 0)
    function.view_is_deleted = True

    with pytest.raises(OperateError, match=fault):
        driving(function).run(function.parts)

    assert "end" not in function.commands


def test_an_interrupted_rebuild_ends_after_the_current_steps_and_keeps_its_progress() -> None:
    function = FakeFunction(after_a_step=_thread.interrupt_main)
    # A background job's shell ignores SIGINT.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            driving(function).run(function.parts[:1])
    finally:
        signal.signal(signal.SIGINT, previous)

    assert "end" not in function.commands
    assert function.parts[0]["read"] >= 1


def test_rebuild_says_which_events_have_expired_and_deletes_the_view_only_if_that_is_meant(
    stack: OpsStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = (
        "The outboxes keep events for 30 days (OutboxRetentionDays): a rebuild has no older ones."
    )
    for days, arguments, expected_code, is_dropped in (
        (0, ("--drop", "--yes"), 0, True),
        (30, (), 0, False),
        (30, ("--drop", "--yes"), 1, False),
        (30, ("--drop", "--yes", "--partial"), 0, True),
    ):
        function = FakeFunction()
        function.retention_days = days
        monkeypatch.setattr("infra.ops.__main__.HistoryRebuild", lambda *_, **__: driving(function))  # noqa: B023, called in this loop

        code, output = stack.run("rebuild-history", *arguments)

        assert (code, "drop" in function.commands) == (expected_code, is_dropped), output
        assert (note in output, "Replay the archive" in output) == (days > 0, days > 0)
        assert ("end" in function.commands) == (code == 0)
