"""The short form of the explorer and of the simulation. `make model` and `make simulate` run the long forms."""

from __future__ import annotations

import pytest

from tests.model.bugs import BUGS
from tests.model.explorer import NewOrder, Result, World, explore, explore_view
from tests.model.simulation import simulate
from tests.model.system import CUSTOMERS, ORDERS, System, event_type

ONE_ORDER = World([500], [NewOrder(1, 300)])
TWO_ORDERS = World([500], [NewOrder(1, 300), NewOrder(1, 300, cancelled=False)], faults=False)
ERASED = World([500], [NewOrder(1, 300, cancelled=False)], faults=False, erased=True)
MAX_STATES = 3000


def search() -> list[Result]:
    """Explore small worlds, and the view for an approved order and for an erased customer, until a rule is broken."""
    results: list[Result] = []
    for world, outcome in (
        (ONE_ORDER, "OrderApproved"),
        (ERASED, "CustomerErased"),
        (TWO_ORDERS, ""),
    ):
        results.append(explore(world, MAX_STATES))
        if results[-1].problems:
            break
        if outcome:
            histories = [tables for tables in results[-1].histories if outcome in str(tables)]
            shortest = min(histories, key=lambda tables: len(tables[0] | tables[1]))
            results.append(explore_view(shortest, faults=False))
        if results[-1].problems:
            break
    return results


def test_every_interleaving_of_small_worlds_keeps_the_rules() -> None:
    results = search()

    assert not any(result.problems for result in results), results[-1]
    assert all(result.is_complete and result.finished for result in results)
    assert sum(result.states for result in results) > 100


@pytest.mark.parametrize("name", BUGS)
def test_seeded_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[name](monkeypatch)

    found = search()[-1]

    assert found.problems
    assert found.trace


def test_credit_of_a_cancelled_order_is_free_only_after_its_event_with_and_without_batches() -> (
    None
):
    """An order that follows a cancellation is refused if its event is handled first. Batches make no difference."""
    outcomes = []
    for as_one_batch in (True, False):
        system = System()
        with system.deterministic():
            system.next_id = 1
            system.create_customer("Jane", 500, "customer")
            for order_id in (11, 12):
                system.next_id = order_id
                system.create_order(1, 300, f"order {order_id}")
                created = [
                    body for _, body in system.published(ORDERS) if f'"orderId": {order_id}' in body
                ]
                if order_id == 11:
                    system.deliver(CUSTOMERS, created)
                    answers = [body for _, body in system.published(CUSTOMERS)]
                    system.deliver(
                        ORDERS, [body for body in answers if "Reserved" in event_type(body)]
                    )
                    system.cancel_order(11, "cancel")
            bodies = [body for _, body in system.published(ORDERS)]
            cancelled = [body for body in bodies if event_type(body) == "OrderCancelled"]
            for batch in [[*created, *cancelled]] if as_one_batch else [created, cancelled]:
                system.deliver(CUSTOMERS, batch)
            outcomes.append(sorted(event_type(body) for _, body in system.published(CUSTOMERS)))
            assert system.violations(finished=False, view=False) == []
    assert outcomes[0] == outcomes[1]
    assert "CustomerCreditReservationFailed" in outcomes[0]
    assert "CustomerCreditReleased" in outcomes[0]


def test_simulation_replays_its_seed_and_keeps_the_rules() -> None:
    first, second = (simulate(seed=7, sagas=60) for _ in range(2))

    assert first.problems == []
    assert first == second
    assert first != simulate(seed=8, sagas=60)
