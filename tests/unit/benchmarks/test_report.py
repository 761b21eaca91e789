from __future__ import annotations

import json
from pathlib import Path

from tests.benchmarks.report import GOALS, MARKS, README, WHERE_IT_GOES, Report, Section
from tests.template import ROOT

RESULTS = ROOT / "docs/benchmarks/results.json"


def test_each_row_says_goal_target_measured_and_met_and_where_and_when(tmp_path: Path) -> None:
    report = Report()
    report.add("1. Fast", "at most 2", "3", met=False)

    report.write(tmp_path)

    (row,) = json.loads((tmp_path / "results.json").read_text())
    assert row.keys() == {"goal", "target", "measured", "met", "machine", "versions", "date"}
    assert (row["goal"], row["target"], row["measured"], row["met"]) == (
        "1. Fast",
        "at most 2",
        "3",
        False,
    )
    assert row["machine"]
    assert row["versions"]["ministack"]


def test_the_page_has_all_goals_and_tables(tmp_path: Path) -> None:
    report = Report(sections=[Section("A table", ("a", "b"), [("1", "2")], "What it says.")])
    report.add("1. Fast", "at most 2", "3", met=False)
    report.add("2. Cheap", "at most 2", "1", met=True)

    report.write(tmp_path)

    page = (tmp_path / "results.md").read_text()
    assert "1 of 2 met" in page
    assert "| 1. Fast | at most 2 | 3 | **no** |" in page
    assert "| 1 | 2 |" in page
    assert (tmp_path / "results.png").stat().st_size > 10_000


def test_a_goal_that_is_not_met_says_where_the_time_or_the_money_goes(tmp_path: Path) -> None:
    report = Report()
    report.add("3. Cheap", "at most 2", "3", met=False)

    page = report.page()

    assert "Where the time and the money go" in page
    assert WHERE_IT_GOES["3"] in page
    assert WHERE_IT_GOES["1"] not in page
    assert WHERE_IT_GOES.keys() == GOALS.keys()


def test_the_summary_takes_its_place_in_the_readme_and_leaves_the_rest(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{MARKS[0]}\nstale\n{MARKS[1]}\nafter\n")
    report = Report()
    report.add("6. Flat", "flat", "flat", met=True)
    report.add("6. Flat, too", "flat", "no", met=False)

    report.write_summary(readme)

    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "stale" not in text
    assert "| 6. growth with a customer's orders | 1 of 2 |" in text


def test_the_readme_has_a_place_for_the_summary() -> None:
    assert all(README.read_text().count(mark) == 1 for mark in MARKS)


def test_every_goal_has_its_rows_in_the_results() -> None:
    rows = json.loads(RESULTS.read_text())

    assert {row["goal"].split(".")[0] for row in rows} == {"1", "2", "3", "4", "5", "6", "7", "8"}
