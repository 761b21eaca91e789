from __future__ import annotations

from tests.benchmarks import goals
from tests.benchmarks.calls import Counted
from tests.benchmarks.contention import Contention
from tests.benchmarks.losses import Losses
from tests.benchmarks.searches import PageCost
from tests.benchmarks.speed import LOADS, Speed
from tests.benchmarks.systems import BARE, BASELINE, DUAL_WRITE, INBOX, OURS
from tests.benchmarks.usage import GROUPS, cpu_between


def speed(decided: float, seconds: float, cpu: float) -> Speed:
    found = Speed(accepted_rates=[decided], decided_rates=[decided])
    found.cpu_rounds = [dict.fromkeys(GROUPS, cpu)]
    for load in LOADS:
        found.approved[load] = [seconds]
    return found


def test_speed_goals_compare_rates_latency_and_cpu() -> None:
    speeds = {
        OURS.name: speed(80, 0.1, 2),
        BASELINE.name: speed(40, 0.2, 8),
        BARE.name: speed(100, 0.1, 2),
        INBOX.name: speed(50, 0.09, 4),
        DUAL_WRITE.name: speed(50, 0.1, 4),
    }

    met = {goal.title: goal.met for goal in goals.of_speed(speeds, 0.5)}

    assert met[f"Orders decided per second, against {BASELINE.title}"]
    assert not met[f"Orders decided per second, against {BARE.title}"]
    assert not met[f"POST to APPROVED, idle load, p50, against {INBOX.title}"]
    assert met["CPU per decided order at 8 clients, all processes"]
    assert met[f"CPU of MongoDB per decided order, against {BASELINE.title}"]


def test_counts_must_equal_the_cost_model() -> None:
    counted = Counted(2, write_units=28, read_units=6, events=6, messages=10, receives=10)
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


def test_cpu_counts_only_processes_that_existed_before() -> None:
    before = {(1, "emulator"): 100.0, (2, "API"): 50.0}
    after = {(1, "emulator"): 130.0, (2, "API"): 55.0, (3, "API"): 400.0}

    spent = cpu_between(before, after)

    assert (spent["emulator"], spent["API"]) == (30.0, 5.0)
