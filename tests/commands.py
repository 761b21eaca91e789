"""Commands, run as their user runs them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.template import ROOT


def run(
    *command: str, cwd: Path = ROOT, environment: Mapping[str, str | None] = {}
) -> subprocess.CompletedProcess[str]:
    """Run the command with these environment variables added; None removes one."""
    variables = {**os.environ, **environment}
    env = {name: value for name, value in variables.items() if value is not None}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
