"""docs/operate.md and the Makefile name the commands and variables that exist."""

from __future__ import annotations

import re

from infra.local.build import PROJECT
from infra.ops.__main__ import cli

DOCUMENT = (PROJECT / "docs/operate.md").read_text()
MAKEFILE = (PROJECT / "Makefile").read_text()


def test_each_command_has_a_make_target_and_a_row_with_its_variables() -> None:
    for name, command in cli.commands.items():
        assert re.search(
            rf"^{name}: install ## .*\n(?:.*\n)?\t.*infra\.ops {name}$", MAKEFILE, re.MULTILINE
        )
        (row,) = re.findall(rf"^\| `make {name}[ `].*$", DOCUMENT, re.MULTILINE)
        variables = {str(parameter.envvar) for parameter in command.params if parameter.envvar}
        for variable in variables - {"TARGET", "STACK_NAME", "PORT", "LOCALSTACK_PORT"}:
            assert f"{variable}=" in row or f"`{variable}`" in row, (name, variable)


def test_each_named_make_target_exists() -> None:
    named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", DOCUMENT, re.MULTILINE))

    assert named
    assert named <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
