"""Print untrusted text: message bodies, names, ids, log lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager

from rich.console import Console
from rich.table import Table

WIDTH_IN_A_FILE = 2000
"""Columns where the output is not a terminal, so that a row stays on one line."""
CELL = 250
"""Characters of a text in a table."""


def clean(text: object, limit: int | None = None) -> str:
    """Return the text on one line, cut to `limit` characters, with each unprintable character escaped.

    Unprintable are control characters (escape sequences start with one), line breaks, surrogates, and the
    format characters that reverse or hide text.
    """
    whole = str(text)
    cut = whole if limit is None or len(whole) <= limit else whole[:limit]
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return shown if cut is whole else f"{shown}... ({len(whole):,} characters)"


def clean_lines(text: str) -> str:
    """Clean a text of several lines, such as a traceback. Later lines are indented: they cannot pass as new entries."""
    return "\n  ".join(clean(line) for line in text.split("\n"))


def _console(*, stderr: bool = False) -> Console:
    # Square brackets and colons in a message are no markup and no emoji.
    console = Console(highlight=False, markup=False, emoji=False, stderr=stderr)
    if not console.is_terminal:
        console.width = WIDTH_IN_A_FILE
    return console


console = _console()
errors = _console(stderr=True)


def say(text: object) -> None:
    """Print one line."""
    console.print(clean(text), soft_wrap=True)


def complain(text: object) -> None:
    """Print one line to standard error."""
    errors.print(clean(text), style="red", soft_wrap=True)


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, or nothing if it has no rows."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")  # an id must stay whole
    for row in rows:
        table.add_row(*(clean(cell, CELL) for cell in row))
    if table.row_count:
        console.print(table)


def status(title: str) -> AbstractContextManager[object]:
    """Show at a terminal what the block does."""
    return console.status(f"{title} ...")  # prints nothing in a file
