"""Install the locked packages into the two virtual environments. Uses nothing but Python: it runs before all else.

    python infra/local/install.py ENVIRONMENT EMULATORS_ENVIRONMENT

An environment that is up to date is left alone, which takes a few milliseconds. Any other is built anew.
"""

import fcntl
import hashlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - whether it is supported is what this has to find out
    found = ".".join(map(str, sys.version_info[:3]))
    sys.exit(
        f"Python 3.11 or newer is needed; {sys.executable} is {found}. Name another: make PYTHON=python3.12 ..."
    )

ROOT = Path(__file__).resolve().parents[2]
DEVELOPMENT_LOCK = ROOT / "requirements-dev.txt"
EMULATORS_LOCK = ROOT / "infra/local/requirements.txt"

# The locks are complete, so nothing is resolved here and nothing unpinned can come in.
LOCKED = ["--no-deps", "--require-hashes", "--requirement"]


class Environment:
    """A virtual environment and the lock it is installed from."""

    def __init__(self, directory: Path, lock: Path) -> None:
        self.directory = directory.resolve()
        self.python = str(self.directory / "bin/python")
        self.lock = lock
        self.stamp = self.directory / "installed"

    @property
    def fingerprint(self) -> str:
        """What the environment was made of: another interpreter, place or lock makes it stale."""
        lock = hashlib.sha256(self.lock.read_bytes()).hexdigest()
        return f"{sys.version}\n{sys.base_prefix}\n{self.directory}\n{lock}\n"

    def is_current(self) -> bool:
        """Whether nothing needs to be done. The stamp is written last, so half an installation is never current."""
        return self.stamp.is_file() and self.stamp.read_text() == self.fingerprint

    def create(self, *options: str) -> None:
        """The environment exists and is empty."""
        run(sys.executable, "-m", "venv", "--clear", *options, str(self.directory))


def say(text: str) -> None:
    """The user can read it, and what `make url` prints on standard output stays the URL alone."""
    print(text, file=sys.stderr, flush=True)


def run(*command: str) -> None:
    """The command succeeded. Raises SystemExit, with what it printed, if it did not."""
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}")


def pip_install(pip: list[str], lock: Path) -> None:
    """The packages of the lock are installed by pip."""
    run(
        *pip,
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
        *LOCKED,
        str(lock),
    )


def uv_install(uv: str, environment: Environment) -> bool:
    """Whether uv could install the environment: it does not see an index that only pip is configured for."""
    command = [
        uv,
        "pip",
        "install",
        "--quiet",
        # Of the system, as with pip: a company's own certificates are there, and not among uv's.
        "--system-certs",
        "--python",
        environment.python,
        *LOCKED,
        str(environment.lock),
    ]
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        say(
            f"uv could not install {environment.directory.name}; pip will, in a minute:\n{done.stderr}"
        )
    return done.returncode == 0


def bootstrap_uv(python: str) -> str | None:
    """The path of uv, installed at its locked version; None where there is none for this platform.

    uv installs in seconds what takes pip a minute.
    """
    pinned = re.search(r"^uv==.*(\n +--hash.*)+", DEVELOPMENT_LOCK.read_text(), re.MULTILINE)
    if pinned is None:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as lock:
        lock.write(pinned.group())
        lock.flush()
        try:
            pip_install([python, "-m", "pip"], Path(lock.name))
        except SystemExit as failure:
            say(str(failure))
            return None
    return str(Path(python).with_name("uv"))


@contextmanager
def one_at_a_time(environment: Environment) -> Iterator[None]:
    """No other installation of this environment is under way."""
    with Path(f"{environment.directory}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(development: Environment, emulators: Environment) -> None:
    """Both environments are current."""
    if development.is_current() and emulators.is_current():
        return
    with one_at_a_time(development):
        stale = [
            environment for environment in (development, emulators) if not environment.is_current()
        ]
        if not stale:
            return
        names = " and ".join(environment.directory.name for environment in stale)
        say(f"Installing Python packages into {names} (once) ...")
        started = time.monotonic()
        if development in stale:
            development.create()
        if emulators in stale:
            # Its packages are installed from outside; an own pip would take three seconds more.
            emulators.create("--without-pip")
        uv = bootstrap_uv(development.python)
        for environment in stale:
            if uv is None or not uv_install(uv, environment):
                pip_install(
                    [development.python, "-m", "pip", "--python", environment.python],
                    environment.lock,
                )
            environment.stamp.write_text(environment.fingerprint)
        say(f"Installed in {time.monotonic() - started:.1f} s.")


if __name__ == "__main__":
    main(
        Environment(Path(sys.argv[1]), DEVELOPMENT_LOCK),
        Environment(Path(sys.argv[2]), EMULATORS_LOCK),
    )
