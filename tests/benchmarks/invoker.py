"""One function in a process of its own, started by functions.py: `invoker.py MODE HANDLER EVENT SAME_WORK [ROUNDS]`.

Prints one JSON object on its last line. Imports nothing before the clock starts that it need not.
"""

# ruff: noqa: PLC0415
from __future__ import annotations

import sys
import time
from typing import Any

STARTED = time.perf_counter()
MODE, HANDLER, EVENT, SAME_WORK, *ROUNDS = sys.argv[1:]
INVOCATIONS_PER_ROUND = 20


class Context:
    function_name = "bench"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:bench"
    aws_request_id = "request"

    @staticmethod
    def get_remaining_time_in_millis() -> Any:
        return 10_000


def milliseconds() -> Any:
    return (time.perf_counter() - STARTED) * 1000


def tell(**facts: Any) -> Any:
    import json

    sys.stdout.flush()
    print("\n" + json.dumps(facts), file=sys.__stdout__)


def boto3_alone() -> Any:
    import boto3

    client = boto3.client("dynamodb")
    init = milliseconds()
    client.get_item(TableName="Orders", Key={"orderId": {"N": "1"}})
    tell(init_ms=init, first_ms=milliseconds())


def handler() -> Any:
    import importlib

    module, name = HANDLER.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def start() -> Any:
    handle = handler()
    init = milliseconds()
    check(handle(events(1)[0], Context()))
    tell(init_ms=init, first_ms=milliseconds())


def events(count: Any) -> Any:
    """So many events, each of another order or customer: a repeated one would be dropped as a duplicate."""
    import json
    import random
    import re
    from pathlib import Path

    text = Path(EVENT).read_text()
    made = []
    for _ in range(count):
        shift = random.randrange(10**12)
        ids = {found: str(int(found) + shift) for found in re.findall(r"2379\d{11}", text)}
        found = json.loads(re.sub("|".join(ids) or "$^", _replaced_from(ids), text))
        if "Records" in found:  # one message, as it comes where nothing is batched
            ours = [record for record in found["Records"] if "OrderCreated" in json.dumps(record)]
            found["Records"] = (ours or found["Records"])[:1]
        made.append(found)
    return made


def _replaced_from(ids: Any) -> Any:
    return lambda match: ids[match[0]]


def check(answer: Any) -> Any:
    """A handler that fails quickly would look fast."""
    answer = answer or {}
    if answer.get("batchItemFailures") or answer.get("statusCode", 200) not in (200, 404):
        raise RuntimeError(f"the handler answered {answer}")


def warm() -> Any:
    import importlib

    bare_work = importlib.import_module("bare_work")  # beside this file

    handle, same_work, context = handler(), getattr(bare_work, SAME_WORK), Context()

    def cpu_ms(invoke: Any) -> Any:
        these = events(INVOCATIONS_PER_ROUND)
        begin = time.thread_time()  # of this thread: the MongoDB driver has threads that look about
        for event in these:
            check(invoke(event, context))
        return (time.thread_time() - begin) * 1000 / INVOCATIONS_PER_ROUND

    cpu_ms(handle), cpu_ms(same_work)
    ours, bare = [], []
    for _ in range(int(ROUNDS[0])):
        ours.append(cpu_ms(handle))
        bare.append(cpu_ms(same_work))
    tell(ours_ms=ours, bare_ms=bare)


def profile() -> Any:
    import cProfile
    import pstats
    import re

    handle, context = handler(), Context()
    for event in events(20):
        check(handle(event, context))
    these = events(100)
    profiler = cProfile.Profile(time.thread_time)
    profiler.enable()
    for event in these:
        handle(event, context)
    profiler.disable()
    places = (r"site-packages/(\w+)", r"/python/(\w+)", r"Function/(\w+)", r"/python3\.\d+/(\w+)")
    times: dict[str, float] = {}
    stats: Any = pstats.Stats(profiler)
    for (file, _, name), (_, _, own, _, _) in stats.stats.items():
        found = next((m for p in places if (m := re.search(p, file))), None)
        package = "built in" if file == "~" else found[1] if found else "others"
        if "recv" in name or "send" in name or "connect" in name:
            package = "the socket"
        times[package] = times.get(package, 0.0) + own
    total = sum(times.values())
    shares = sorted(((k, v / total) for k, v in times.items()), key=lambda pair: -pair[1])
    tell(shares=shares[:8])


{"boto3": boto3_alone, "start": start, "warm": warm, "profile": profile}[MODE]()
