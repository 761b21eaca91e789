"""The reason why an order is stuck, from what there is to know of the last event of its saga."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from infra.ops.stuck import Whereabouts, reason
from tests.unit.infra.test_operate_timeline import saga

LAST = Whereabouts(
    event=saga(0)[0], published=True, relay="orders-outbox-relay", consumer="customers-subscriber"
)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            {"letter": ("the-queue", "not JSON"), "waiting": 3, "published": False},
            "OrderCreated is in the-queue: not JSON",
        ),
        (
            {"published": False},
            "OrderCreated is in the outbox, and orders-outbox-relay has not logged that it published it",
        ),
        (
            {"failure": "AccessDenied", "waiting": 1},
            "customers-subscriber fails with OrderCreated: AccessDenied",
        ),
        (
            {"handled": True, "waiting": 1},
            "customers-subscriber has handled OrderCreated, and published nothing in answer",
        ),
        (
            {"waiting": 2},
            "OrderCreated is published and not handled yet; waiting in the queue of customers-subscriber: 2",
        ),
        (
            {},
            "OrderCreated is published, and neither handled by customers-subscriber nor in its queue: lost",
        ),
    ],
)
def test_the_first_reason_that_explains_it_is_given_and_the_event_may_come_once_more(
    facts: dict[str, Any], expected: str
) -> None:
    assert reason(replace(LAST, **facts)) == (expected, "")


@pytest.mark.parametrize(
    ("facts", "stopped"),
    [
        (
            {"published": False, "relay_stopped": "off"},
            "orders-outbox-relay is stopped: off",
        ),
        (
            {"consumer_stopped": "off", "waiting": 3},
            "customers-subscriber is stopped: off",
        ),
        (
            {"consumer_stopped": "off", "failure": "AccessDenied"},
            "customers-subscriber is stopped: off",
        ),
    ],
)
def test_where_somebody_is_stopped_another_copy_of_the_event_would_not_help(
    facts: dict[str, Any], stopped: str
) -> None:
    why, blocked = reason(replace(LAST, **facts))

    assert stopped in why
    assert blocked == stopped
