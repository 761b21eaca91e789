from __future__ import annotations

import json
from pathlib import Path

from tests.benchmarks.report import Goal, Report, Table

MET = Goal("speed", "at least 2 times", "2.10 times", met=True, reason="batches")
MISSED = Goal("losses", "0", "1", met=False, reason="atomic", why_missed="a bug", is_guard=True)


def test_page_lists_goals_with_reasons_and_explains_misses(tmp_path: Path) -> None:
    table = Table("Calls", ("", "calls"), [["ours", "2.2"]], "Counted.")
    report = Report([MET, MISSED], [table], ["A note."])

    report.write(tmp_path)

    page = (tmp_path / "results.md").read_text()
    assert "1 of 2 met" in page
    assert "| speed | at least 2 times | 2.10 times | yes | batches |" in page
    assert "- losses: a bug" in page
    assert "- A note." in page
    assert "| ours | 2.2 |" in page
    results = json.loads((tmp_path / "results.json").read_text())
    assert [goal["met"] for goal in results["goals"]] == [True, False]


def test_only_missed_guards_fail_the_short_form() -> None:
    slow = Goal("speed", "at least 2 times", "1.00 times", met=False, reason="batches")

    assert Report([MET, slow]).broken_guards == []
    assert Report([MET, slow, MISSED]).broken_guards == [MISSED]
