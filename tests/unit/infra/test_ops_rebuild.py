"""Driving the rebuild function to the end of all parts, despite failures and interrupts."""

from __future__ import annotations

import _thread
import io
import json
import signal
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from infra.ops import rebuild as rebuild_module
from infra.ops.rebuild import HistoryRebuild, Part
from infra.ops.target import OperateError, Target


class FakeFunction:
    """Two parts, each of which takes three steps; `failures` invocations fail before."""

    def __init__(
        self,
        failures: int = 0,
        loses_view: bool = False,
        after_a_step: Callable[[], None] = lambda: None,
    ) -> None:
        self.parts: list[Part] = [
            {"_id": name, "read": 0, "projected": 0, "unreadable": 0, "state": "open"}
            for name in ("Customers", "Orders")
        ]
        self.commands: list[str] = []
        self._failures = failures
        self._loses_view = loses_view
        self._after_a_step = after_a_step

    def invoke(self, FunctionName: str, Payload: str) -> Any:  # noqa: N803, boto3's names
        command = json.loads(Payload)
        self.commands.append(command["command"])
        if self._failures:
            self._failures -= 1
            return _answer({"errorMessage": "no database"}, FunctionError="Unhandled")
        if self._loses_view:
            return _answer({"parts": []})
        for part in self.parts:
            if part["_id"] == command.get("part"):
                part["read"] += 1
                part["state"] = "done" if part["read"] == 3 else "open"
                self._after_a_step()
        return _answer({"parts": self.parts})


def _answer(payload: Any, **fields: str) -> Any:
    return {"Payload": io.BytesIO(json.dumps(payload).encode()), **fields}


class FakeTarget:
    def __init__(self, function: FakeFunction) -> None:
        self._function = function

    def client(self, service: str, config: object = None) -> Any:
        return self._function

    def resource(self, logical_id: str) -> str:
        return logical_id


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild_module, "PAUSE_SECONDS", 0.0)


def driving(function: FakeFunction) -> HistoryRebuild:
    return HistoryRebuild(cast("Target", FakeTarget(function)), parallel=2)


def test_every_part_is_read_to_its_end() -> None:
    function = FakeFunction()
    rebuild = driving(function)

    rebuild.run(function.parts)

    assert [part["state"] for part in function.parts] == ["done", "done"]
    assert function.commands[-1] == "end"
    assert rebuild.summary().startswith("6 events read, 0 projected; 2 of 2 parts done;")


def test_unreadable_events_are_reported() -> None:
    function = FakeFunction()
    function.parts[0]["unreadable"] = 3
    rebuild = driving(function)

    rebuild.run(function.parts)

    assert "3 unreadable" in rebuild.summary()


def test_failed_invocations_are_retried() -> None:
    function = FakeFunction(failures=4)

    driving(function).run(function.parts[:1])

    assert function.parts[0]["state"] == "done"


def test_a_function_that_keeps_failing_ends_the_rebuild_with_its_reason() -> None:
    function = FakeFunction(failures=1000)

    with pytest.raises(OperateError, match="no database"):
        driving(function).run(function.parts)

    assert "end" not in function.commands


def test_a_view_that_is_deleted_meanwhile_ends_the_rebuild() -> None:
    function = FakeFunction(loses_view=True)

    with pytest.raises(OperateError, match="deleted during the rebuild"):
        driving(function).run(function.parts)

    assert "end" not in function.commands


@pytest.fixture
def interrupts_are_heard() -> Iterator[None]:
    """Restore the handler that a background job's shell replaces: it ignores SIGINT."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("interrupts_are_heard")
def test_an_interrupted_rebuild_ends_after_the_current_steps_and_keeps_its_progress() -> None:
    function = FakeFunction(after_a_step=_thread.interrupt_main)

    with pytest.raises(KeyboardInterrupt):
        driving(function).run(function.parts[:1])

    assert "end" not in function.commands
    assert function.parts[0]["read"] >= 1
