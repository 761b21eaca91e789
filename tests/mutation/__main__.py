"""Mutate the domain, messaging, the view and authorization, and run the tests that execute each changed line.

Fail if a mutant survives that reviewed.txt does not list, or if less than 95 % of the mutants that are not equivalent
are killed.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.util
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import botocore.session
import click
import coverage
import pytest

from tests.integration import mongodb
from tests.mutation.mutants import Mutant, mutants_of
from tests.template import ROOT

COMMON = ROOT / "layers/common"
PATTERNS = (
    *("customers/customer.py", "customers/service.py", "orders/order.py", "orders/service.py"),
    *("shared/[a-z]*.py", "messaging/[a-z]*.py", "order_history/projection.py"),
    *("order_history/view.py", "rest_api/authorization.py"),
)
FILES = [path for pattern in PATTERNS for path in sorted(COMMON.glob(pattern))]
MODULES = {".".join(p.relative_to(COMMON).with_suffix("").parts): p for p in FILES}
TESTS = (
    *(f"tests/unit/{n}" for n in ("customers", "messaging", "order_history", "orders", "shared")),
    *(f"tests/unit/test_{name}.py" for name in ("rest_api", "sample_events", "mongodb_options")),
    *("tests/integration", "tests/model"),
    *(f"--ignore=tests/integration/test_{name}.py" for name in ("packages", "console", "peers")),
    "--deselect=tests/model/test_model.py::test_seeded_bug_is_found",
)
OPTIONS = (
    *("-q", "-x", "-p", "no:cacheprovider", "--assert=plain", "-p", "no:unraisableexception"),
    *("-o", "timeout=300"),  # seconds, on a busy machine
)
OURS = {"functions", "tests", *(path.name for path in COMMON.iterdir())}
REVIEWED = Path(__file__).with_name("reviewed.txt")
MIN_SCORE = 0.95
SECONDS = 10
"""Processor time that a test may take in addition to five times its usual time. A mutant may loop for ever."""

Lines = dict[int, list[str]]
"""The tests that execute a line; an empty text if the module's import does."""


class Baseline:
    """A pytest plugin that records which tests execute which lines, and how long each test takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        files = [str(path) for path in FILES]
        self.coverage = coverage.Coverage(data_file=None, config_file=False, include=files)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        started = time.process_time()
        self.coverage.switch_context(item.nodeid)
        answer = yield
        self.seconds[item.nodeid] = time.process_time() - started
        return answer

    def run(self, output: Path) -> int:
        self.coverage.start()
        status = pytest.main([*TESTS, *OPTIONS], plugins=[self])
        self.coverage.stop()
        data = self.coverage.get_data()
        lines = {name: data.contexts_by_lineno(str(path)) for name, path in MODULES.items()}
        output.write_bytes(pickle.dumps((lines, self.seconds, list(sys.modules))))
        return int(status)


class Chosen:
    """A pytest plugin that runs only the given tests, the fastest first."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self._seconds]
        items.sort(key=lambda item: self._seconds[item.nodeid])

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        signal.setitimer(signal.ITIMER_PROF, SECONDS + 5 * self._seconds[item.nodeid])


def fork(action: Callable[[], int]) -> int:
    """Perform the action in a copy of this process without our modules. Return its id."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
            if name != "tests.template":  # it has read the template
                del sys.modules[name]
        status = action()
    finally:
        os._exit(status)


def run_mutant(module: str, source: str, tests: dict[str, float]) -> int:
    """Import the mutant in the module's place and run the tests."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
    importlib.import_module("tests.conftest")  # sets the functions' environment
    package, _, name = module.rpartition(".")
    spec = importlib.util.spec_from_file_location(module, MODULES[module])
    assert spec is not None
    mutated = sys.modules[module] = importlib.util.module_from_spec(spec)
    exec(compile(source, MODULES[module], "exec"), vars(mutated))
    setattr(importlib.import_module(package), name, mutated)
    files = {test.partition("::")[0] for test in tests}
    return int(pytest.main([*sorted(files), *OPTIONS], plugins=[Chosen(tests)]))


def prepare(directory: Path) -> tuple[dict[str, Lines], dict[str, float]]:
    """Run all tests once. Import everything that they need and that is not ours, so that each copy has it already."""
    output = directory / "baseline"
    _, status = os.waitpid(fork(lambda: Baseline().run(output)), 0)
    if status:
        raise click.ClickException("The tests fail without a mutant.")
    lines, seconds, imported = pickle.loads(output.read_bytes())
    for name in imported:
        if name.partition(".")[0] not in OURS:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)
    for service in ("dynamodb", "events", "sqs"):
        boto3.client(service, region_name="us-east-1")
    gc.freeze()
    return lines, seconds


def survivors(
    module: str, mutants: list[Mutant], lines: Lines, seconds: dict[str, float], deadline: float
) -> list[Mutant]:
    """Test the mutants, as many at a time as there are cores.

    A mutant is tested by the tests that execute its lines; by all of the module for lines that the import executes.
    """
    of_module = {test for tests in lines.values() for test in tests} - {""} or set(seconds)
    waiting, running, survived = mutants[::-1], dict[int, Mutant](), []
    while waiting or running:
        if time.monotonic() > deadline:
            raise click.ClickException(f"Time is up before {module} is finished. See MINUTES=.")
        if waiting and len(running) < (os.cpu_count() or 1):
            mutant = waiting.pop()
            executed = {test for line in mutant.lines for test in lines.get(line, ())}
            if chosen := executed - {""} or (of_module if executed else set()):
                tests = {test: seconds[test] for test in chosen}
                running[fork(functools.partial(run_mutant, module, mutant.source, tests))] = mutant
            else:
                survived.append(mutant)
        else:
            pid, status = os.wait()
            survived += [running.pop(pid)] if status == 0 else []
            running.pop(pid, None)
    return survived


@click.command(help=__doc__)
@click.option("--module", help="Mutate only this module, for example messaging.relay.")
@click.option("--minutes", default=180, help="Time limit.")
def main(module: str | None, minutes: int) -> None:
    deadline = time.monotonic() + 60 * minutes
    os.environ["CI"] = "1"  # Hypothesis draws the same examples each time
    blocks = [block.rpartition("\n# ") for block in REVIEWED.read_text().strip().split("\n\n")]
    reasons = {mutant: reason for mutant, _, reason in blocks}
    problems, counted, killed = list[str](), 0, 0
    with tempfile.TemporaryDirectory() as directory, mongodb.start(Path(directory)) as uri:
        os.environ["TEST_MONGODB_URI"] = uri
        lines, seconds = prepare(Path(directory))
        for name in [module] if module else MODULES:
            mutants = {f"{name} {m}": m for m in mutants_of(MODULES[name].read_text())}
            tested = [mutant for key, mutant in mutants.items() if key not in reasons]
            alive = survivors(name, tested, lines[name], seconds, deadline)
            problems += [f"Survived:\n{name} {mutant}" for mutant in alive]
            old = [key for key in reasons if key.startswith(f"{name} ") and key not in mutants]
            problems += [f"No longer a mutant, remove it from reviewed.txt:\n{key}" for key in old]
            equivalent = [k for k in mutants if reasons.get(k, "").startswith("equivalent")]
            counts = len(mutants), len(equivalent), len(tested) - len(alive)
            print("{}: {} mutants, {} equivalent, {} killed".format(name, *counts), flush=True)
            counted += len(mutants) - len(equivalent)
            killed += len(tested) - len(alive)
    print(*problems, sep="\n\n")
    print(
        f"{killed} of {counted} mutants that are not equivalent are killed: {killed / counted:.1%}"
    )
    sys.exit(bool(problems) or killed / counted < MIN_SCORE)


if __name__ == "__main__":
    main()
