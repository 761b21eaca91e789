"""The installer never clears a directory that it did not make, and explains a Python that it cannot use."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from infra.local.install import MARKER, Environment
from tests.commands import run

LOCK = "requirements-dev.txt"


def test_foreign_directory_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    for marker in ("", "pyvenv.cfg", "installed"):  # an environment of another tool
        file = tmp_path / (marker or "thesis.txt")
        file.touch()
        with pytest.raises(SystemExit, match=r"not made by `make install`.*VENV"):
            Environment(str(tmp_path), LOCK).create()
        assert file.exists()
        if marker:
            file.unlink()


def test_interrupted_installation_is_cleared(tmp_path: Path) -> None:
    for name in (MARKER, "rest-of-an-interrupted-installation"):
        (tmp_path / name).touch()

    Environment(str(tmp_path), LOCK).create()

    assert (tmp_path / MARKER).exists()
    assert (tmp_path / "bin/python").exists()
    assert not (tmp_path / "rest-of-an-interrupted-installation").exists()


def test_make_install_explains_a_directory_and_a_python_that_it_cannot_use(tmp_path: Path) -> None:
    old = tmp_path / "python2"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for python, expected in (
        (sys.executable, "not made by `make install`"),
        (str(old), f"{old} is not. Name another: make PYTHON="),
        ("no-such-python", "no-such-python is not. Name another: make PYTHON="),
    ):
        environment = {"VENV": str(tmp_path)}
        done = run("make", "install", f"PYTHON={python}", environment=environment)
        assert done.returncode != 0
        assert expected in done.stderr
        assert "Traceback" not in done.stderr
    assert old.exists()
