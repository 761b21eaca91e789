"""The installer never clears a directory of somebody else, and explains a Python that it cannot use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.install import MARKER, Environment
from tests.template import ROOT

LOCK = "requirements-dev.txt"


def test_directory_of_others_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for marker in (None, "pyvenv.cfg", "installed"):  # a foreign environment is foreign, too
        if marker:
            (tmp_path / marker).unlink(missing_ok=True)
            (tmp_path / marker).touch()
        with pytest.raises(SystemExit, match=r"not made by `make install`.*VENV"):
            Environment(str(tmp_path), LOCK).create()
        (tmp_path / (marker or MARKER)).unlink(missing_ok=True)

    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_own_directory_is_made_again(tmp_path: Path) -> None:
    for name in (MARKER, "rest-of-an-interrupted-installation"):
        (tmp_path / name).touch()

    Environment(str(tmp_path), LOCK).create()

    assert (tmp_path / MARKER).exists()
    assert (tmp_path / "bin/python").exists()
    assert not (tmp_path / "rest-of-an-interrupted-installation").exists()


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_install_refuses_a_directory_of_others(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()

    done = make("install", f"PYTHON={sys.executable}", VENV=str(tmp_path))

    assert done.returncode != 0
    assert "not made by `make install`" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "thesis.txt").exists()


def test_unusable_python_is_explained(tmp_path: Path) -> None:
    old = tmp_path / "python2"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for python in (str(old), "no-such-python"):
        done = make("install", f"PYTHON={python}")
        assert done.returncode != 0
        assert f"{python} is not. Name another: make PYTHON=" in done.stderr
