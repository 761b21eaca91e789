"""Commands, run as their user runs them."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
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
    module: ModuleType, *arguments: str, environment: Mapping[str, str | None] = {}
) -> subprocess.CompletedProcess[str]:
    """Run the module's `main` in this process, without the second that its imports take."""
    output, errors, exit_code = io.StringIO(), io.StringIO(), 0
    given = {name: value for name, value in environment.items() if value is not None}
    with (
        patch.dict(os.environ, given),
        patch.object(sys, "argv", [module.__name__, *arguments]),
        patch.object(sys, "stdin", io.StringIO()),
        patch.object(signal, "signal"),  # pytest handles them
        redirect_stdout(output),
        redirect_stderr(errors),
    ):
        for name in environment.keys() - given.keys():
            os.environ.pop(name, None)
        try:
            module.main()
        except SystemExit as end:
            exit_code = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
    return subprocess.CompletedProcess(arguments, exit_code, output.getvalue(), errors.getvalue())
