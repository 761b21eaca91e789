"""Mutate the domain, messaging, the view and authorization, and run the tests that execute each changed line.

Fail if a mutant survives that reviewed.txt does not list, or if less than 95 % of the mutants that are not equivalent
are killed.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import gc
import importlib.util
import itertools
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
    *("-p", "pytest_timeout", "-o", "timeout=300"),  # seconds, on a busy machine
)
OURS = {"functions", "tests", *(path.name for path in COMMON.iterdir())}
SHARED = {"tests.template", "tests.issuer"}
"""Modules of ours that import no mutated module and are slow to import: they read the template and make keys."""
REVIEWED = Path(__file__).with_name("reviewed.txt")
MIN_SCORE = 0.95
SECONDS = 10
"""Processor time that a test may take in addition to five times its usual time. A mutant may loop for ever."""
SECONDS_PER_MUTANT = 20
"""Usual processor time of the tests of one mutant: the fastest tests that execute its lines."""
SECONDS_TO_IMPORT = 0.2
"""Processor time of importing the handlers, which unit tests do not need."""
FIRST = 5
"""Tests that run before the files of the other tests are imported. They kill most mutants."""

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
        for module in MODULES:
            for value in vars(sys.modules.get(module, object)).values():
                # Or the lines of a cached function were executed by the first test only.
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
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
    """A pytest plugin that runs only the given tests, in their order, and records the one that fails."""

    def __init__(self, seconds: dict[str, float], killer: Path) -> None:
        self._seconds = seconds
        self._killer = killer

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        found = {item.nodeid: item for item in items}
        items[:] = [found[test] for test in self._seconds if test in found]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._killer.write_text(report.nodeid)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        signal.setitimer(signal.ITIMER_PROF, SECONDS + 5 * self._seconds[item.nodeid])


def fork(action: Callable[[], int]) -> int:
    """Perform the action in a copy of this process without our modules. Return its id."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
            if name not in SHARED:
                del sys.modules[name]
        status = action()
    finally:
        os._exit(status)


def run_mutant(module: str, source: str, tests: dict[str, float], directory: Path) -> int:
    """Import the mutant in the module's place and run the tests. Write the test that fails to `directory`/<process id>."""
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
    for part in list(tests)[:FIRST], list(tests)[FIRST:]:
        files = sorted({test.partition("::")[0] for test in part})
        chosen = Chosen({test: tests[test] for test in part}, directory / str(os.getpid()))
        # -s: a logger keeps the stream of the first run.
        options = (*OPTIONS, "-s", "--tb=no")
        if part and (status := pytest.main([*files, *options], plugins=[chosen])):
            return int(status)
    return 0


def chosen(tests: set[str], seconds: dict[str, float], killers: set[str]) -> dict[str, float]:
    """Return the tests with their times: the killers, then the fastest that SECONDS_PER_MUTANT allows, at least one."""
    imports = {test: 0.0 if test.startswith("tests/unit") else SECONDS_TO_IMPORT for test in tests}
    ordered = sorted(tests, key=lambda test: (test not in killers, imports[test] + seconds[test]))
    totals = itertools.accumulate(seconds[test] for test in ordered)
    enough = sum(total <= SECONDS_PER_MUTANT for total in totals)
    return {test: seconds[test] for test in ordered[: max(enough, 1)]}


def prepare(directory: Path) -> tuple[dict[str, Lines], dict[str, float]]:
    """Run all tests once. Import everything that they need and that is not ours, so that each copy has it already."""
    output = directory / "baseline"
    _, status = os.waitpid(fork(lambda: Baseline().run(output)), 0)
    if status:
        raise click.ClickException("The tests fail without a mutant.")
    lines, seconds, imported = pickle.loads(output.read_bytes())
    for name in imported:
        if name.partition(".")[0] not in OURS or name in SHARED:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)
    for service in ("dynamodb", "events", "sqs"):
        boto3.client(service, region_name="us-east-1")
    gc.freeze()
    return lines, seconds


def survivors(
    module: str,
    mutants: list[Mutant],
    *,
    lines: Lines,
    seconds: dict[str, float],
    directory: Path,
    deadline: float,
) -> Iterator[Mutant]:
    """Test the mutants, as many at a time as there are cores. Yield each that survives.

    A mutant is tested by the tests that execute its lines; by all of the module for lines that the import executes.
    Tests that killed another mutant of the function come first.
    """
    of_module = {test for tests in lines.values() for test in tests} - {""} or set(seconds)
    killers = collections.defaultdict[str, set[str]](set)
    waiting, running = mutants[::-1], dict[int, Mutant]()
    while waiting or running:
        if time.monotonic() > deadline:
            raise click.ClickException(f"Time is up before {module} is finished. See MINUTES=.")
        if waiting and len(running) < (os.cpu_count() or 1):
            mutant = waiting.pop()
            executed = {test for line in mutant.lines for test in lines.get(line, ())}
            if candidates := executed - {""} or (of_module if executed else set()):
                tests = chosen(candidates, seconds, killers[mutant.function])
                run = functools.partial(run_mutant, module, mutant.source, tests, directory)
                running[fork(run)] = mutant
            else:
                yield mutant
        else:
            pid, status = os.wait()
            mutant = running.pop(pid)
            if status == 0:
                yield mutant
            elif (killer := directory / str(pid)).exists():
                killers[mutant.function].add(killer.read_text())


@click.command(help=__doc__)
@click.option("--module", help="Mutate only this module, for example messaging.relay.")
@click.option("--minutes", default=180, help="Time limit.")
def main(module: str | None, minutes: int) -> None:
    deadline = time.monotonic() + 60 * minutes
    os.environ["CI"] = "1"  # Hypothesis draws the same examples each time
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # starting the unused plugins takes time
    blocks = [block.rpartition("\n# ") for block in REVIEWED.read_text().strip().split("\n\n")]
    reasons = {mutant: reason for mutant, _, reason in blocks}
    problems, counted, killed = 0, 0, 0
    with tempfile.TemporaryDirectory() as directory, mongodb.start(Path(directory)) as uri:
        os.environ["TEST_MONGODB_URI"] = uri
        lines, seconds = prepare(Path(directory))
        for name in [module] if module else MODULES:
            source = MODULES[name].read_text()
            test = functools.partial(
                survivors,
                name,
                lines=lines[name],
                seconds=seconds,
                directory=Path(directory),
                deadline=deadline,
            )
            unchanged = Mutant("", "", source, range(1, source.count("\n") + 1))
            if not list(test([unchanged])):
                raise click.ClickException(f"The tests of {name} fail without a mutant.")
            mutants = {f"{name} {m}": m for m in mutants_of(source)}
            tested = [mutant for key, mutant in mutants.items() if key not in reasons]
            equivalent = [k for k in mutants if reasons.get(k, "").startswith("equivalent")]
            alive = 0
            for mutant in test(tested):
                print(f"Survived:\n{name} {mutant}\n", flush=True)
                alive += 1
            for key in reasons:
                if key.startswith(f"{name} ") and key not in mutants:
                    print(f"No longer a mutant, remove it from reviewed.txt:\n{key}\n")
                    problems += 1
            counts = len(mutants), len(equivalent), len(tested) - alive
            print("{}: {} mutants, {} equivalent, {} killed".format(name, *counts), flush=True)
            problems += alive
            counted += len(mutants) - len(equivalent)
            killed += len(tested) - alive
    print(
        f"{killed} of {counted} mutants that are not equivalent are killed: {killed / counted:.1%}"
    )
    sys.exit(bool(problems) or killed / counted < MIN_SCORE)


if __name__ == "__main__":
    main()
