"""The local stack as its users have it: a burst on a cold start, a reset, hostile web pages, and an awkward checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from infra.local.api_client import ApiClient, wait_until
from infra.local.build import archive_of
from infra.local.deployed_stack import STACK_NAME
from infra.local.guarded_ministack import MAX_CONCURRENT_REQUESTS
from infra.local.processes import Process, free_port
from infra.local.stack import EmbeddedStack
from tests.commands import run
from tests.stacks import local_stack_only, still_running, workers
from tests.template import ROOT

# Start, deploy and stop take 25 s on an idle machine with two cores.
pytestmark = [pytest.mark.timeout(600), local_stack_only]
PARALLEL_REQUESTS = 100
AWKWARD_NAME = 'It\'s a "checkout" [copy] (1) für Größe'
SETTINGS = {"AWS_ENDPOINT_URL": "http://elsewhere.example", "LOG_LEVEL": "warn", "MONGODB_URI": ""}
PRINTS_A_NUMBER = b"""
import time

def lambda_handler(event, context):
    print(event["number"], end="", flush=True)
    time.sleep(event["seconds"])
"""
HOSTILE_SETTINGS = {
    **dict.fromkeys(("PIP_PREFIX", "PIP_TARGET", "PYTHONPATH", "VIRTUAL_ENV"), "/nowhere"),
    **dict.fromkeys(
        ("PIP_REQUIRE_VIRTUALENV", "PIP_USER", "PYTHONSAFEPATH", "UV_SYSTEM_PYTHON"), "1"
    ),
}


def test_burst_on_a_cold_stack_is_answered_by_few_workers(local_stack: EmbeddedStack) -> None:
    with (
        ApiClient(local_stack.base_url, timeout_seconds=120) as api,
        ThreadPoolExecutor(PARALLEL_REQUESTS) as clients,
    ):
        list(clients.map(lambda _: api.create_customer("Jane Doe", 5), range(PARALLEL_REQUESTS)))

    # At most MAX_CONCURRENT_REQUESTS of the function under load, and one or two of each other function.
    assert len(workers(local_stack)) <= MAX_CONCURRENT_REQUESTS + 20


def test_requests_of_other_sites_are_refused(local_stack: EmbeddedStack) -> None:
    for url, headers in (
        (f"{local_stack.aws_endpoint_url}/_ministack/reset", {"Origin": "http://evil.example"}),
        (f"{local_stack.aws_endpoint_url}/?Action=CreateRole", {"Origin": "null"}),
        (f"{local_stack.base_url}/customers", {"Host": "evil.example"}),
    ):
        response = httpx.post(url, headers=headers, content="{}", trust_env=False)
        assert response.status_code == 403, url
    own = {"Origin": local_stack.aws_endpoint_url}
    assert httpx.get(f"{local_stack.base_url}/", headers=own, trust_env=False).status_code == 200


def test_first_order_is_decided_and_reset_deletes_it_but_not_the_stack(
    local_stack: EmbeddedStack,
) -> None:
    with ApiClient(local_stack.base_url, timeout_seconds=60) as api:
        customer = api.create_customer("Jane Doe", 5)
        order = api.create_order(customer, 4)
        wait_until(lambda: api.get_order(order)["orderState"], lambda state: state == "APPROVED")
        processes = [process.pid for process in local_stack.processes]

        local_stack.reset()

        assert list(api.customers()) == []
        assert api.request("GET", "/customers/count").json() == 0
        order = api.create_order(api.create_customer("John Doe", 5), 6)
        wait_until(lambda: api.get_order(order)["orderState"], lambda state: state == "REJECTED")
    assert [process.pid for process in local_stack.processes if process.is_running()] == processes


def test_each_log_has_the_lines_of_its_invocation(local_stack: EmbeddedStack) -> None:
    functions = local_stack.deployment.stack.client("lambda")
    copied = functions.get_function_configuration(FunctionName=f"{STACK_NAME}-orders-api")
    functions.create_function(
        FunctionName="echo",
        Handler="echo.lambda_handler",
        Code={"ZipFile": archive_of({"echo.py": PRINTS_A_NUMBER})},
        Timeout=3,
        **{key: copied[key] for key in ("Runtime", "Role")},
    )

    def log(number: int, seconds: int = 0) -> str:
        event = json.dumps({"number": number, "seconds": seconds})
        answer = functions.invoke(FunctionName="echo", LogType="Tail", Payload=event)
        return b64decode(answer.get("LogResult", "")).decode()

    try:
        with ThreadPoolExecutor(4) as clients:
            assert list(clients.map(log, range(20))) == [str(number) for number in range(20)]
        assert log(20, seconds=9) == "20\nTask timed out after 3.00 seconds"
    finally:
        functions.delete_function(FunctionName="echo")


def test_terminated_commands_stop_their_stacks() -> None:
    modules = ("tests.fuzz", "tests.benchmarks.load", "tests.benchmarks.rebuild", "tests.chaos")
    path = {"PYTHONPATH": "layers/common"}
    commands = {
        module: psutil.Popen([sys.executable, "-m", module], cwd=ROOT, env=os.environ | path)
        for module in modules
    }
    emulators = {}
    try:
        for module, command in commands.items():
            emulators[module] = wait_until(command.children, lambda found: len(found) == 2, 120)
    finally:
        for command in commands.values():
            command.terminate()
    for module, command in commands.items():
        assert command.wait(60), module
        assert still_running(emulators[module]) == [], module


def test_checkout_with_awkward_path_and_settings_starts_and_stops(tmp_path: Path) -> None:
    checkout = tmp_path / AWKWARD_NAME
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists() and not name.startswith(("tests/", "docs/")):
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
    port = free_port()
    ports = {"PORT": str(port), "MONGODB_PORT": str(free_port())}
    environment = {**SETTINGS, **HOSTILE_SETTINGS, **ports}

    def make(target: str) -> str:
        # `make test` runs this test, and a make in a make prints its directory.
        command = ("make", "--no-print-directory", target, f"PYTHON={sys.executable}")
        done = run(*command, cwd=checkout, environment=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    make("up")
    try:
        url = make("url").strip()
        answer = httpx.get(f"{url}/customers", trust_env=False, timeout=60)
        assert answer.json() == {"customers": [], "nextToken": None}
        record = json.loads((checkout / f".embedded/{port}/instance.json").read_text())
        assert record["log_level"] == "WARNING"
    finally:
        make("down")
    assert not any(Process(**process).is_running() for process in record["processes"])
