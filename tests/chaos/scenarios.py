"""All scenarios, by the fault that each is about, in the order in which they run."""

from __future__ import annotations

from tests.chaos.deliveries import all_again, hot_customer, late_reversed_twice
from tests.chaos.dependencies import (
    bus_does_not_answer,
    bus_throttles,
    dynamodb_slow,
    dynamodb_throttles,
    entries_refused,
    mongodb_down,
    mongodb_slow,
    outage_longer_than_five_receives,
    outcome_unknown,
    transactions_in_conflict,
)
from tests.chaos.kills import api_killed, projection_killed, relay_killed, subscriber_killed
from tests.chaos.poison import given_up_then_redriven, poison_parked
from tests.chaos.scenario import Scenario

SCENARIOS: dict[str, Scenario] = {
    "relay killed after PutEvents": relay_killed,
    "subscribers killed after their transaction": subscriber_killed,
    "projection killed at any moment": projection_killed,
    "API killed between transaction and answer": api_killed,
    "events late, in reverse order, and twice": late_reversed_twice,
    "all events again, the last first": all_again,
    "EventBridge refuses some entries": entries_refused,
    "EventBridge throttles, and answers 500": bus_throttles,
    "EventBridge does not answer": bus_does_not_answer,
    "DynamoDB: TransactionConflict": transactions_in_conflict,
    "DynamoDB throttles": dynamodb_throttles,
    "DynamoDB: outcome unknown": outcome_unknown,
    "DynamoDB slow, and answers 500": dynamodb_slow,
    "MongoDB silent, then down, then back": mongodb_down,
    "MongoDB slow": mongodb_slow,
    "outage longer than five deliveries": outage_longer_than_five_receives,
    "poison in queues and outbox, redriven": poison_parked,
    "dead letters redriven after the fault": given_up_then_redriven,
    "200 orders of one customer at once": hot_customer,
}
