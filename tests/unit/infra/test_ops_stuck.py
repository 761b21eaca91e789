"""The reason why an order is stuck, from the facts about the last event of its saga."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from infra.ops.stuck import reason

of_order_created = partial(reason, "OrderCreated", "the-relay", "the-consumer")
LOST = "the message is lost"


@pytest.mark.parametrize(
    ("facts", "expected", "obstacle"),
    [
        ({"letter": "the-queue: not JSON", "waiting": 3}, "dead letter in the-queue: not JSON", ""),
        ({}, "the log of the-relay does not name it", ""),
        ({"relay_stopped": "off"}, "the-relay is stopped: off", "the-relay is stopped: off"),
        (
            {"published": True, "consumer_stopped": "off", "failure": "denied", "waiting": 3},
            "the-consumer is stopped: off; messages in its queue: 3",
            "the-consumer is stopped: off",
        ),
        ({"published": True, "failure": "denied", "waiting": 1}, "the-consumer fails: denied", ""),
        ({"published": True, "handled": True, "waiting": 1}, "published no answer", ""),
        ({"published": True, "waiting": 2}, "messages in its queue: 2", ""),
        ({"published": True, "relay_stopped": "off"}, LOST, ""),
    ],
)
def test_the_first_fact_that_explains_it_is_the_reason(
    facts: dict[str, Any], expected: str, obstacle: str
) -> None:
    why, found_obstacle = of_order_created(**facts)

    assert expected in why
    assert "OrderCreated" in why
    assert found_obstacle == obstacle
