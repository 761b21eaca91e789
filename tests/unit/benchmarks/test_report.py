from __future__ import annotations

from tests.benchmarks.report import Goal, Report

MET = Goal("speed", "at least 2 times", "2.10 times", met=True, reason="batches")
MISSED = Goal("losses", "0", "1", met=False, reason="atomic", why_missed="a bug", is_guard=True)


def test_only_missed_guards_fail_the_short_form() -> None:
    slow = Goal("speed", "at least 2 times", "1.00 times", met=False, reason="batches")

    assert Report([MET, slow]).broken_guards == []
    assert Report([MET, slow, MISSED]).broken_guards == [MISSED]
