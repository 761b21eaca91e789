"""Commands, run as their user runs them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from tests.template import ROOT


def run(
    *command: str, cwd: Path = ROOT, environment: Mapping[str, str | None] = {}
) -> subprocess.CompletedProcess[str]:
    """Run the command with these environment variables added; None removes one."""
    variables = {**os.environ, **environment}
    env = {name: value for name, value in variables.items() if value is not None}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def run_here(
    main: Callable[[], None], *arguments: str, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command's `main` in this process, without the second that its imports take."""
    output, errors = io.StringIO(), io.StringIO()
    exit_code: object = 0
    with (
        patch.dict(os.environ, environment),
        patch.object(sys, "argv", ["command", *arguments]),
        patch.object(sys, "stdin", io.StringIO()),
        redirect_stdout(output),
        redirect_stderr(errors),
    ):
        try:
            main()
        except SystemExit as error:
            exit_code = error.code
    code = exit_code if isinstance(exit_code, int) else 1
    return subprocess.CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())
