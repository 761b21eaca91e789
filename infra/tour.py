"""The guided tour, which follows one order from the request to the view: `make tour` writes it anew.

Here is where it stops, and why; where the lines are now is looked up. docs/tour.md is for a browser, .tours/ for
CodeTour, an extension of VS Code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TITLE = "One order, through the code"
INTRODUCTION = """\
This follows one order from the HTTP request through outbox, relay, bus and queue to the decision, back, and into the view that
answers the query at the end. On the way it stops where things go wrong: an order refused, a message that comes twice or can
never be read, two who write at once, a bus that does not answer."""


@dataclass(frozen=True)
class Step:
    title: str
    path: str
    """Of the file, from the root of the repository."""
    anchor: str
    """Text that one line of the file has in it, and no other: best the beginning of a definition."""
    description: str


class AnchorError(Exception):
    """A step's anchor is no longer in its file, or in more than one line of it."""


STEPS = (
    Step(
        "The request",
        "functions/orders_api/handler.py",
        "def create_order(",
        "`POST /orders` arrives here, parsed and checked by the model in its signature. A handler decides nothing: it asks whether"
        " the caller may, calls one command, and gives back an id. The answer does not wait for the order's fate: if it waited for"
        " Customers, Orders would only be available when both are.",
    ),
    Step(
        "The command",
        "layers/common/orders/service.py",
        "def create_order(",
        "Nobody asks here whether there is such a customer, let alone whether the credit suffices: that is in another service's"
        " table, which this one cannot read. The saga will find out. A client that gets no answer may send the same request again"
        " with its `Idempotency-Key`, which is written in the same transaction as the order and so cannot disagree with it.",
    ),
    Step(
        "The aggregate, and the event that tells of it",
        "layers/common/orders/order.py",
        "def _change(",
        "Every change of an order goes through here, so none is without a next version and an event. The version is what"
        " everything later relies on: writers to notice one another, the view to tell the later news from the earlier. The event has"
        " all there is to know of the order, so that no subscriber needs to call back.",
    ),
    Step(
        "One transaction",
        "layers/common/messaging/outbox.py",
        "def write(",
        "The heart of it. Saving first and publishing then would lose the event in a crash between the two; the other way round"
        " would publish what never happened. So the order and its event are items of one DynamoDB transaction, and whatever is"
        " sent later is sent from the outbox.",
    ),
    Step(
        "Change data capture",
        "template.yaml",
        "OrdersOutboxRelayFunction:",
        "The outbox table has a stream, and the stream invokes the relay: nothing polls, and nothing has to be remembered of"
        " what was sent. Only inserts pass the filter, since an event is never changed. Should a record fail for nearly a day, it is singled out and"
        " put into the relay's dead-letter queue, because a stream forgets what is older, and the rest of the shard must go on.",
    ),
    Step(
        "The relay",
        "layers/common/messaging/relay.py",
        "class Relay:",
        "A batch counts as done only when the bus has all of it, which makes delivery at least once, never at most once. Records"
        " that can never be published are parked last, so that a batch that comes again does not park them twice. Publishing exactly"
        " once is not to be had; that twice does no harm is up to the subscribers.",
    ),
    Step(
        "When the bus does not take it",
        "layers/common/messaging/relay.py",
        "def _put(",
        "`PutEvents` answers 200 even when it has refused some entries, so the count of failures is read, and only those are"
        " sent again, before anything later, to keep the order. If that does not help, the error lets the stream bring the whole"
        " batch once more. Killed between the bus and the end of the invocation, the relay does the same: events come twice, and"
        " none is lost.",
    ),
    Step(
        "From the bus to a queue",
        "template.yaml",
        "CustomersSubscriberRule:",
        "A rule per subscriber says which events it wants, and puts them into a queue of its own: a subscriber that is slow or"
        " down holds up nobody else, and has nothing to catch up with but its queue. What the rule cannot deliver goes to the"
        " same dead-letter queue as what the subscriber gives up.",
    ),
    Step(
        "A batch of messages",
        "layers/common/messaging/subscriber.py",
        "def handle_batch(",
        "Each message succeeds or fails by itself, and only those that failed come again. When the function's time runs out it says"
        " so while it still can: a function that is killed would bring back the whole batch. What comes back anyway does no"
        " harm, as the redelivery stop shows.",
    ),
    Step(
        "Poison",
        "layers/common/messaging/dead_letters.py",
        "def park(",
        "A message that is no event this subscriber knows will not become one by trying again. It is parked at once with the"
        " reason beside it, and its neighbours go on. A message that fails for any other reason is left to the queue,"
        " which gives it up after five tries into the same place. `make dlq` shows what is there, `make redrive` sends it back.",
    ),
    Step(
        "The decision",
        "layers/common/customers/service.py",
        "def reserve_credit(",
        "Here the saga forks. Credit is held and `CustomerCreditReserved` written in one transaction; or the order is refused,"
        " for lack of credit or because there is no such customer, and only an event is written, since nothing has changed. A"
        " refusal is an answer like any other: nobody waits for a timeout.",
    ),
    Step(
        "The rule that must never be broken",
        "layers/common/customers/customer.py",
        "def reserve_credit(",
        "The credit limit is checked in plain Python on an object that was loaded, which alone would be a race. It holds because"
        " the customer is saved on condition that its version is the one that the decision was made on. The domain knows nothing of"
        " that, nor of AWS, and `make check` keeps it so.",
    ),
    Step(
        "Two at once",
        "layers/common/messaging/conflicts.py",
        "def retry_on_conflict(",
        "Two orders of one customer at the same time: one write wins, the other finds the version changed, loads anew"
        " and decides again on what is true by then. The pauses are random, so that the losers do not meet again. If others"
        " keep winning for seconds, it gives up, and the queue brings the message later.",
    ),
    Step(
        "Redelivery: the outbox is the inbox",
        "layers/common/messaging/domain_event.py",
        "def effect_id(",
        "The same message again must not reserve twice. The id of an answer is computed from the event it answers, so a second"
        " answer has the key of an outbox item that exists, and the transaction as a whole is refused. No table of handled messages is"
        " needed, and it holds for refusals as well: an order refused today is not approved by a copy that arrives tomorrow.",
    ),
    Step(
        "The answer comes back: approved or rejected, once",
        "layers/common/orders/service.py",
        "def note_credit_not_reserved(",
        "The answer has travelled by outbox, relay, bus and queue as the order did. This rejects it and keeps the"
        " reason; `note_credit_reserved` beside it approves. An order that is no longer PENDING stays as it is, whatever arrives: a fate is decided"
        " once.",
    ),
    Step(
        "The view hears everything",
        "layers/common/order_history/projection.py",
        "def project(",
        "The history subscribes to both services and asks neither. Events of two services come in no order at all, so each is put"
        " down as what is true as of a version, not as a step from one state to the next. `OrderApproved` before"
        " `OrderCreated`, or an order before its customer, is nothing special.",
    ),
    Step(
        "Later news wins",
        "layers/common/order_history/mongodb.py",
        "def _put_version(",
        "The guard is in the filter of the update itself: a document that knows a later version does not match. So a late"
        " `OrderCreated` cannot turn an approved order back to PENDING, and the same event twice changes nothing, without a"
        " transaction and without a list of what has been seen.",
    ),
    Step(
        "The query",
        "functions/order_history_api/handler.py",
        "def get_order_history(",
        "A customer with the latest orders is one document, read by its id: what would be a join across two services is"
        " one read. The price is that the view lags behind, by milliseconds as a rule. A 404 may mean *not yet*, and whoever needs the"
        " truth now asks Orders.",
    ),
)

CLOSING = """\
Do not take the tour's word for it. `tests/integration/test_saga_convergence.py` delivers the events of a saga in
any order and any number of times and finds the same state; `make chaos` kills, throttles and delays while orders are made, and
audits after each fault; the [README](../README.md#what-is-guaranteed-and-how) says which of them attacks which guarantee."""


def line_of(step: Step) -> int:
    """The number of the one line that has the step's anchor. Raises: AnchorError."""
    lines = (ROOT / step.path).read_text().splitlines()
    found = [number for number, line in enumerate(lines, 1) if step.anchor in line]
    if len(found) != 1:
        where = f"in lines {', '.join(map(str, found))}" if found else "nowhere"
        raise AnchorError(
            f"{step.title}: {step.anchor!r} is {where} in {step.path}, not in one line"
        )
    return found[0]


def documents() -> dict[Path, str]:
    """Each file of the tour, as it is to be committed. Raises: AnchorError."""
    stops = [(step, line_of(step)) for step in STEPS]
    return {
        ROOT / "docs/tour.md": _markdown(stops),
        ROOT / ".tours/one-order.tour": _code_tour(stops),
    }


def _markdown(stops: list[tuple[Step, int]]) -> str:
    sections = [
        f"## {number}. {step.title}\n\n[`{step.path}`, line {line}](../{step.path}#L{line})\n\n{step.description}\n"
        for number, (step, line) in enumerate(stops, 1)
    ]
    notice = "In VS Code, the extension CodeTour walks it in the editor. (`make tour` writes this file: edit `infra/tour.py`.)"
    return "\n".join(
        [
            f"# {TITLE}\n\n{INTRODUCTION}\n\n{notice}\n",
            *sections,
            f"## And if it is all wrong?\n\n{CLOSING}\n",
        ]
    )


def _code_tour(stops: list[tuple[Step, int]]) -> str:
    tour = {
        "$schema": "https://aka.ms/codetour-schema",
        "title": TITLE,
        "description": " ".join(INTRODUCTION.splitlines()),
        "isPrimary": True,
        "steps": [
            {"title": step.title, "file": step.path, "line": line, "description": step.description}
            for step, line in stops
        ],
    }
    return json.dumps(tour, indent=2, ensure_ascii=False) + "\n"


def write(generated: dict[Path, str]) -> None:
    """The files are as generated."""
    for path, text in generated.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"{path.relative_to(ROOT)} is written.")


if __name__ == "__main__":
    write(documents())
