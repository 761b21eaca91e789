from __future__ import annotations

from tests.benchmarks import goals
from tests.benchmarks.calls import Counted
from tests.benchmarks.contention import Contention
from tests.benchmarks.losses import Losses
from tests.benchmarks.searches import PageCost
from tests.benchmarks.speed import Speed
from tests.benchmarks.systems import BASELINE, DUAL_WRITE, OURS
from tests.benchmarks.usage import GROUPS


def test_counts_must_equal_the_cost_model() -> None:
    counted = Counted(2, write_units=28, read_units=4, events=6, messages=10, receives=10)
    counted.invocations.update({"api": 2, "others": 16})
    exact = goals.usage_of(counted)
    assert all(goal.met for goal in goals.of_counts(exact))

    counted.write_units = 30
    (missed,) = (goal for goal in goals.of_counts(goals.usage_of(counted)) if not goal.met)

    assert missed.is_guard
    assert missed.measured == "15"


def test_page_of_a_search_must_not_need_more_commands_with_more_customers() -> None:
    for commands, milliseconds, expected in ((5, 7, [True, True]), (6, 9, [False, False])):
        found = {100: PageCost(5, 4), 100_000: PageCost(commands, milliseconds)}
        assert [goal.met for goal in goals.of_search(found)] == expected


def test_lost_order_or_harmless_kills_break_a_guard() -> None:
    for ours, theirs, expected in ((0, 4, [True, True]), (1, 0, [False, False])):
        found = {OURS.name: Losses(4, ours), DUAL_WRITE.name: Losses(4, theirs)}
        assert [goal.met for goal in goals.of_losses(found)] == expected


def test_hot_customer_must_keep_seven_tenths_without_redelivery() -> None:
    assert all(goal.met for goal in goals.of_contention(400, Contention(70, 100, 0)))
    assert not any(goal.met for goal in goals.of_contention(400, Contention(69, 100, 1)))


def test_slow_phase_of_the_machine_changes_no_ratio() -> None:
    ours, theirs = Speed(decided_rates=[100, 100, 50]), Speed(decided_rates=[50, 50, 25])
    ours.cpu_rounds, theirs.cpu_rounds = (
        [dict.fromkeys(GROUPS, cpu) for cpu in rounds]
        for rounds in ((1.0, 1.0, 3.0), (4.0, 4.0, 12.0))
    )

    found = goals.of_speed({OURS.name: ours, BASELINE.name: theirs}, 0.1)

    measured = [goal.measured for goal in found if BASELINE.title in goal.title + goal.target]
    assert [text.partition(" times")[0] for text in measured] == ["2.00", "6.0 ms, 0.25", "0.25"]
