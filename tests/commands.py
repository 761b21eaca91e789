"""Commands, run as their user runs them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from infra.ops import __main__ as ops
from tests.template import ROOT


def run(
    *command: str, cwd: Path = ROOT, environment: Mapping[str, str | None] = {}
) -> subprocess.CompletedProcess[str]:
    """Run the command with these environment variables added; None removes one."""
    variables = {**os.environ, **environment}
    env = {name: value for name, value in variables.items() if value is not None}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def run_ops(
    *arguments: str, environment: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    """Run `python -m infra.ops` in this process, without the second that its imports take."""
    output, errors, exit_code = io.StringIO(), io.StringIO(), 0
    with (
        patch.dict(os.environ, environment),
        patch.object(sys, "argv", ["infra.ops", *arguments]),
        patch.object(sys, "stdin", io.StringIO()),
        patch.object(ops, "handle_interrupts"),  # pytest handles them
        redirect_stdout(output),
        redirect_stderr(errors),
    ):
        try:
            ops.main()
        except SystemExit as end:
            exit_code = int(end.code or 0)
    return subprocess.CompletedProcess(arguments, exit_code, output.getvalue(), errors.getvalue())
