"""Install locked packages into virtual environments, with Python's standard library only.

    python infra/local/install.py ENVIRONMENT LOCK [ENVIRONMENT LOCK ...]

The first environment gets uv, which installs the others in seconds. An environment that is up to date is left alone.
"""

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEVELOPMENT_LOCK = ROOT / "requirements-dev.txt"
# This file marks a directory that this tool made. Only such a directory is ever cleared.
MARKER = ".made-by-make-install"
# The locks are complete. Nothing is resolved here, and no other package is installed.
LOCKED = ["--quiet", "--no-deps", "--require-hashes", "--requirement"]


class Environment:
    """A virtual environment and its lock."""

    def __init__(self, directory: str, lock: str) -> None:
        self.directory = Path(directory).absolute()
        self.python = str(self.directory / "bin/python")
        self.lock = ROOT / lock
        self.stamp = self.directory / "installed"

    @property
    def fingerprint(self) -> str:
        """The interpreter, place and lock of the installation. A change makes it stale."""
        lock = hashlib.sha256(self.lock.read_bytes()).hexdigest()
        return f"{sys.version}\n{sys.base_prefix}\n{self.directory}\n{lock}\n"

    def is_current(self) -> bool:
        """Return whether the installation is complete and not stale. The stamp is written last."""
        return self.stamp.is_file() and self.stamp.read_text() == self.fingerprint

    def create(self) -> None:
        """Create the environment, without packages. Refuse a directory that this tool did not make."""
        if self.directory.exists() and any(self.directory.iterdir()):
            made_before = self.stamp.is_file() and (self.directory / "pyvenv.cfg").is_file()
            if not (made_before or (self.directory / MARKER).is_file()):
                sys.exit(
                    f"{self.directory} exists and was not made by `make install`, so it is not cleared. "
                    "Choose another directory: VENV=..."
                )
            shutil.rmtree(self.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / MARKER).touch()
        run(sys.executable, "-m", "venv", str(self.directory))

    def pip_install(self, lock: Path) -> None:
        """Install the packages of the lock with pip. Raises: SystemExit."""
        pip = [self.python, "-m", "pip", "--disable-pip-version-check"]
        run(*pip, "install", "--no-compile", *LOCKED, str(lock))

    def has_uv(self) -> bool:
        """Install uv at its locked version with pip. Return False if there is no uv for this platform."""
        if (self.directory / "bin/uv").exists():
            return True
        pinned = re.search(r"^uv==.*(\n +--hash.*)+", DEVELOPMENT_LOCK.read_text(), re.MULTILINE)
        with tempfile.TemporaryDirectory() as directory:
            lock = Path(directory, "uv.txt")
            lock.write_text(pinned.group() if pinned else "")
            try:
                self.pip_install(lock)
            except SystemExit as failure:
                say(str(failure))
                return False
        return True

    def uv_install(self, python: str) -> bool:
        """Install the packages with the uv of `python`. Return False if uv fails: it ignores pip's configured index."""
        # The system's certificates include those of a company. uv's own do not.
        uv = [python, "-m", "uv", "pip", "install", "--system-certs", "--python", self.python]
        if not os.access(Path.home(), os.W_OK) and "UV_CACHE_DIR" not in os.environ:
            uv.append("--no-cache")
        try:
            run(*uv, *LOCKED, str(self.lock))
        except SystemExit as failure:
            say(f"uv could not install {self.directory}, so pip does, in a minute. {failure}")
            return False
        return True


def say(text: str) -> None:
    """Print to standard error. On standard output, `make url` prints the URL alone."""
    print(text, file=sys.stderr, flush=True)


def run(*command: str) -> None:
    """Run the command. Raises: SystemExit, with its output, if it fails."""
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}")


def main(environments: list[Environment]) -> None:
    """Make all environments current."""
    if all(environment.is_current() for environment in environments):
        return
    if importlib.util.find_spec("ensurepip") is None:
        sys.exit(
            f"{sys.executable} cannot create virtual environments. On Debian and Ubuntu: apt-get install "
            "python3-venv. Or name another Python: make PYTHON=python3.12 ..."
        )
    first = environments[0]
    with Path(f"{first.directory}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one installation at a time
        stale = [environment for environment in environments if not environment.is_current()]
        if not stale:
            return
        names = " and ".join(environment.directory.name for environment in stale)
        say(f"Installing Python packages into {names} (once) ...")
        started = time.monotonic()
        for environment in stale:
            environment.create()
        has_uv = first.has_uv()
        for environment in stale:
            if not (has_uv and environment.uv_install(first.python)):
                environment.pip_install(environment.lock)
            environment.stamp.write_text(environment.fingerprint)
        say(f"Installed in {time.monotonic() - started:.1f} s.")


if __name__ == "__main__":
    try:
        main([Environment(*pair) for pair in zip(sys.argv[1::2], sys.argv[2::2], strict=True)])
    except KeyboardInterrupt:
        sys.exit(130)
    except PermissionError as error:
        sys.exit(f"{error.filename}: permission denied. Does it belong to another user?")
