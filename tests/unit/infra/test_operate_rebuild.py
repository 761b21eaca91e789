"""Driving the rebuild function: all parts to their end, whatever fails or interrupts."""

from __future__ import annotations

import _thread
import io
import json
from typing import Any, cast

import pytest

from infra.ops import rebuild as rebuild_module
from infra.ops.rebuild import HistoryRebuild, Part
from infra.ops.target import OperateError, Target


class FakeFunction:
    """Two parts, each of which takes three steps; `failures` invocations fail before."""

    def __init__(self, failures: int = 0, loses_view: bool = False) -> None:
        self.parts: list[Part] = [
            {"_id": name, "outbox": name, "segments": 1, "read": 0, "state": "open"}
            for name in ("Customers", "Orders")
        ]
        self.commands: list[str] = []
        self._failures = failures
        self._loses_view = loses_view

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


def test_every_part_is_read_to_its_end_and_each_step_is_shown() -> None:
    function, shown = FakeFunction(), list[tuple[str, int]]()

    driving(function).run(function.parts, lambda part: shown.append((part["_id"], part["read"])))

    assert [part["state"] for part in function.parts] == ["done", "done"]
    assert sorted(shown) == [(n, read) for n in ("Customers", "Orders") for read in range(4)]
    assert function.commands[-1] == "end"


def test_a_function_that_fails_for_a_while_is_asked_again() -> None:
    function = FakeFunction(failures=4)

    driving(function).run(function.parts[:1], lambda _: None)

    assert function.parts[0]["state"] == "done"


def test_a_function_that_keeps_failing_ends_the_rebuild_with_its_reason() -> None:
    function = FakeFunction(failures=1000)

    with pytest.raises(OperateError, match="no database"):
        driving(function).run(function.parts, lambda _: None)

    assert "end" not in function.commands


def test_a_view_that_is_lost_meanwhile_ends_the_rebuild() -> None:
    function = FakeFunction(loses_view=True)

    with pytest.raises(OperateError, match="lost meanwhile"):
        driving(function).run(function.parts, lambda _: None)

    assert "end" not in function.commands


def test_interrupted_it_ends_after_the_steps_under_way_and_forgets_nothing() -> None:
    function = FakeFunction()

    def interrupt(part: Part) -> None:
        if part["read"] == 1:
            _thread.interrupt_main()

    with pytest.raises(KeyboardInterrupt):
        driving(function).run(function.parts[:1], interrupt)

    assert "end" not in function.commands
    assert function.parts[0]["read"] >= 1
