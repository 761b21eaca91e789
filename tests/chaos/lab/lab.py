"""The lab: faults of `make chaos` at the press of a button while orders are created, and an audit when all is quiet."""

from __future__ import annotations

import json
import math
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Any

from infra.local.processes import wait_until
from infra.ops.dead_letters import pick
from infra.ops.letter import Edit
from infra.ops.target import explain
from tests.chaos.aws_faults import UnorderedBus, worker_killed
from tests.chaos.aws_proxy import Fault, Forward
from tests.chaos.clients import ClientGaveUpError, Placed, place
from tests.chaos.dead_letters import writes
from tests.chaos.http import Request, Response
from tests.chaos.scenarios import RESERVATIONS, publishes
from tests.chaos.system import System
from tests.chaos.verdict import DECISIONS, Evidence, Outcome, judge

ORDERING_SECONDS = 60.0
"""Orders stop this long after the last press of a button."""
MAX_ORDERS = 2000
"""No more orders are created after this number. Each audit reads all of them."""
FAULT_SECONDS = 10.0
HIT_SECONDS = 30.0
"""Limits the wait for a request that the fault affects."""
LOOK_SECONDS = 1.5
LOG_ENTRIES = 50
PROJECTION = "order-history-projection"
ORDER_ID = re.compile(rb'orderId\\?": ?(\d+)')
"""In an event, also if it is a JSON text in a request."""

Json = dict[str, Any]


class Lab:
    """Runs each button's action in a thread. The server at `url` passes all requests for orders on."""

    def __init__(self, system: System, url: str) -> None:
        self._system, self._url = system, url
        self._actions: dict[str, Callable[[], None]] = {
            "orders": self._keep_ordering,
            "relay": self._kill_relays,
            "subscribers": self._kill_subscribers,
            "unordered": self._deliver_unordered,
            "mongodb": self._stop_mongodb,
            "broken": self._send_broken_message,
            "rush": self._rush,
            "audit": self._stop_ordering,
        }
        self._running: set[str] = set()
        self._pool = ThreadPoolExecutor(len(self._actions) + 1)
        self._lock = threading.Lock()
        self._closing, self._no_orders = threading.Event(), threading.Event()
        self._orders_until = 0.0
        self._begun = self._done = 0
        """Number of changes to the system."""
        self._audited = -1
        """Number of changes before the last audit."""
        self._limits: dict[int, Decimal] = {}
        self._orders: dict[str, int] = {}
        """Confirmed orders by the Idempotency-Key of their requests."""
        self._faults = 0
        self._queues = system.dead_letters()
        self._queues_lock = threading.Lock()
        """A letter is hidden while it is read."""
        self._depths: dict[str, int] | None = None
        self._letters: list[Json] = []
        self._intact: dict[str, str] = {}
        """Messages before they were broken, by event id."""
        self._log: deque[Json] = deque(maxlen=LOG_ENTRIES)
        self._waiting = ""
        self._verdict: Json = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Audit the system during the block. Stop orders and faults afterwards."""
        with self._pool:
            self._pool.submit(self._watch)
            try:
                yield
            finally:
                self._closing.set()
                self._no_orders.set()

    def press(self, name: str) -> bool:
        """Start the action, or stop the orders if they come. Return False if it does not exist or runs."""
        with self._lock:
            if name == "orders" and name in self._running:
                self._no_orders.set()
                return True
            if name not in self._actions or name in self._running:
                return False
            self._running.add(name)
        self._pool.submit(self._run, name)
        return True

    def _run(self, name: str) -> None:
        try:
            with self.change():
                self._actions[name]()
        except Exception as error:  # noqa: BLE001, the page shows it
            self._tell(f"{name} failed: {explain(error)}")
        finally:
            with self._lock:
                self._running.remove(name)

    @contextmanager
    def change(self) -> Iterator[None]:
        """Postpone the audit until the block has ended."""
        with self._lock:
            self._begun += 1
        try:
            yield
        finally:
            with self._lock:
                self._done += 1

    def confirm(self, path: str, key: str | None, sent: Json, answer: Json) -> None:
        """Remember what the API confirmed to a client."""
        with self._lock:
            if path == "/customers":
                self._limits[answer["customerId"]] = Decimal(str(sent["creditLimit"]["amount"]))
            elif path == "/orders":
                self._orders[key or str(uuid.uuid4())] = answer["orderId"]

    def state(self) -> Json:
        """Return what the page shows, and times as objects."""
        with self._lock:
            return {
                "running": sorted(self._running),
                "orders": len(self._orders),
                "faults": self._faults,
                "waiting": self._waiting,
                "verdict": self._verdict if self._audited == self._begun else None,
                "letters": self._letters,
                "log": list(self._log),
            }

    def _tell(self, text: str, about: bytes = b"", faults: int = 0) -> None:
        """Log what happened, with the order that the message or request is about. Count the faults."""
        order = ORDER_ID.search(about)
        entry = {"at": round(time.time() * 1000), "text": text, "order": order and int(order[1])}
        with self._lock:
            self._faults += faults
            self._log.appendleft(entry)

    # --- Orders and faults -------------------------------------------------------------------------------------------

    def _keep_ordering(self) -> None:
        self._no_orders.clear()
        self._orders_until = time.monotonic() + ORDERING_SECONDS
        self._tell("Orders are coming.")
        try:
            while time.monotonic() < self._orders_until and len(self._orders) < MAX_ORDERS:
                self._place(8, clients=2, cancel_share=0.2, stopped=self._no_orders)
                if self._no_orders.wait(1):
                    break
        except ClientGaveUpError:
            if not self._no_orders.is_set():
                raise
        self._tell("No more orders are coming.")

    def _want_orders(self) -> None:
        self._orders_until = time.monotonic() + ORDERING_SECONDS
        if "orders" not in self._running:
            self.press("orders")

    def _stop_ordering(self) -> None:
        self._no_orders.set()

    def _place(self, orders: int, **options: Any) -> Placed:
        return place(self._url, orders, customers=1, **options)

    def _rush(self) -> None:
        placed = self._place(40, clients=10, cancel_share=0, stopped=self._closing)
        self._tell(f"Ten clients placed {len(placed.orders)} orders for about twice one limit.")

    def _kill_relays(self) -> None:
        self._inject(
            *(
                self._killed(f"{service}-outbox-relay", "PutEvents", publishes(service))
                for service in ("customers", "orders")
            )
        )

    def _kill_subscribers(self) -> None:
        self._want_orders()
        for _ in range(3):  # at any moment: its writes do not pass the proxy of AWS
            if self._system.workers.kill(PROJECTION):
                self._tell(f"{PROJECTION} was killed.", faults=1)
            self._closing.wait(0.7)
        self._inject(
            self._killed("customers-subscriber", "TransactWriteItems", writes(*RESERVATIONS)),
            self._killed("orders-subscriber", "TransactWriteItems", writes(*DECISIONS)),
        )

    def _killed(self, function: str, operation: str, concerns: Callable[[Request], bool]) -> Fault:
        kill = worker_killed(self._system.workers, function)

        async def effect(request: Request, forward: Forward) -> None:
            await kill(request, forward)
            self._tell(f"{function} was killed after {operation}.", request.body, 1)

        return Fault(operation, effect, limit=1, concerns=concerns)

    def _inject(self, *faults: Fault) -> None:
        """Inject the faults, while orders come, until each has struck."""
        self._want_orders()
        with self._system.aws.inject(*faults):
            self._wait(lambda: all(fault.struck >= fault.limit for fault in faults))

    def _wait(self, is_done: Callable[[], bool], seconds: float = HIT_SECONDS) -> None:
        wait_until(lambda: self._closing.is_set() or is_done(), seconds)

    def _deliver_unordered(self) -> None:
        bus = UnorderedBus(self._system.events, late_seconds=1)
        kept = "Events are kept for a second, then published in reverse order and twice."

        async def effect(request: Request, forward: Forward) -> Response:
            if fault.struck == 1:
                self._tell(kept, request.body)
            return await bus.put_events(request, forward)

        fault = Fault("PutEvents", effect)
        self._want_orders()
        with self._system.aws.inject(fault):
            self._closing.wait(FAULT_SECONDS)
        self._wait(bus.has_delivered_all, math.inf)  # the bus has promised the events
        bus.abort()  # if the lab is closing
        self._tell(
            f"{fault.struck} batches of events were published like this.", faults=fault.struck
        )

    def _stop_mongodb(self) -> None:
        self._want_orders()
        self._tell(f"MongoDB is stopped for {FAULT_SECONDS:.0f} seconds.", faults=1)
        with self._system.mongodb.down():
            self._closing.wait(FAULT_SECONDS)
        self._tell("MongoDB is back.")

    # --- Dead letters ------------------------------------------------------------------------------------------------

    def _send_broken_message(self) -> None:
        """Send the latest OrderCreated to the projection again, with an invalid total."""
        events = self._system.written_since(0)
        item = next(event for event in events if event["eventType"]["S"] == "OrderCreated")
        message = {
            "source": item["source"]["S"],
            "detail-type": item["eventType"]["S"],
            "detail": json.loads(item["detail"]["S"]),
        }
        self._intact[item["eventId"]["S"]] = json.dumps(message)
        message["detail"]["data"]["orderTotalCents"] = "a lot"
        url, body = self._system.queue_url(PROJECTION), json.dumps(message)
        self._system.sqs.send_message(QueueUrl=url, MessageBody=body)
        self._tell(f"A broken message is on the queue of {PROJECTION}.", body.encode(), 1)

    def redrive(self, queue: str, message_id: str) -> None:
        """Send the letter back, corrected if the lab broke it. Raises: OperateError if it is not there."""
        with self.change(), self._queues_lock:
            event_id = next((i["event_id"] for i in self._letters if i["id"] == message_id), "")
            intact = self._intact.get(event_id)
            edit = Edit(intact, "lab") if intact else None
            self._queues.redrive(self._queues.find(queue), 1, message_id, edit=edit)
            self._depths = None
        self._tell(f"A dead letter was {'corrected and ' if edit else ''}sent back to {queue}.")

    def discard(self, queue: str, message_id: str) -> None:
        """Delete the letter. Raises: OperateError if it is not there."""
        name = self._queues.find(queue)
        with self.change(), self._queues_lock, self._queues.receive(name) as letters:
            self._queues.delete(name, pick(letters, message_id))
            self._depths = None
        self._tell(f"A dead letter of {queue} was discarded.")

    def _read_letters(self) -> None:
        # Counts and letters belong together: otherwise a letter could be deleted in between, and the next be overlooked.
        with self._queues_lock:
            depths = self._system.dead_letter_depths()
            if depths == self._depths:
                return
            found = self._queues.read([self._queues.find(name) for name in depths], list)
            self._depths = depths
            self._letters = [asdict(x) | {"queue": queue} for queue in found for x in found[queue]]

    # --- The audit ---------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            try:
                self._read_letters()
                self._audit()
            except Exception as error:  # noqa: BLE001, the page shows it
                self._waiting = explain(error)

    def _audit(self) -> None:
        """Audit the system unless it is busy or was not changed since the last audit."""
        with self._lock:
            begun, is_quiet = self._begun, self._begun == self._done
            placed = Placed(dict(self._limits), set(self._orders.values()), len(self._orders))
        if not is_quiet or begun == self._audited:
            return
        self._waiting = self._system.left_to_do()
        if self._waiting:
            return
        # The page shows dead letters by themselves.
        evidence = replace(Evidence.of(self._system), queue_depths={})
        # An audit without faults is wanted, too.
        verdict = judge(Outcome(placed, struck=max(1, self._faults)), evidence)
        events = [event for order in evidence.view["orders"] for event in order["events"].values()]
        with self._lock:
            if self._begun != begun:
                return  # something changed while the evidence was collected
            self._audited = begun
            redelivered = sum(sum(event["deliveries"].values()) > 1 for event in events)
            self._verdict = asdict(verdict) | {"faults": self._faults, "redelivered": redelivered}
