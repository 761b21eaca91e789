"""The tour leads to lines that are there."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from infra import tour
from infra.tour import STEPS, AnchorError, Step
from tests.template import ROOT


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_a_stop_is_at_a_line_that_has_its_anchor(step: Step) -> None:
    lines = (ROOT / step.path).read_text().splitlines()

    assert step.anchor in lines[tour.line_of(step) - 1]


@pytest.mark.parametrize("anchor", ["def no_such_thing(", "import"])
def test_an_anchor_that_is_gone_or_ambiguous_is_told(anchor: str) -> None:
    with pytest.raises(AnchorError, match=STEPS[0].path):
        tour.line_of(replace(STEPS[0], anchor=anchor))


def test_the_committed_tour_leads_to_where_the_code_is_now() -> None:
    for path, text in tour.documents().items():
        assert path.read_text() == text, "the code has moved: run `make tour`"


def test_both_tours_make_the_same_stops() -> None:
    stops = json.loads((ROOT / ".tours/one-order.tour").read_text())["steps"]
    page = (ROOT / "docs/tour.md").read_text()

    assert len(stops) == len(STEPS)
    for stop in stops:
        assert f"(../{stop['file']}#L{stop['line']})\n\n{stop['description']}\n" in page
