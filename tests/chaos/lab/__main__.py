"""Command line: python -m tests.chaos.lab [--port PORT]."""

from __future__ import annotations

import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console

from infra.local.processes import handle_interrupts
from infra.local.target import PORT
from tests.chaos.lab.server import serving

console = Console(highlight=False, soft_wrap=True)


@click.command(help="Serve the console with buttons that inject faults into a stack of its own.")
@click.option("--port", envvar="LAB_PORT", default=4576, type=PORT, show_default=True)
def main(*, port: int) -> None:
    """Stop everything at Ctrl-C."""
    handle_interrupts()
    try:
        with (
            TemporaryDirectory() as directory,
            console.status("Starting") as status,
            serving(Path(directory), port) as url,
        ):
            status.stop()
            console.print(f"The lab is at {url}/\nCtrl-C stops everything and deletes its data.")
            try:
                threading.Event().wait()
            finally:
                status.update("Stopping")
                status.start()
    except KeyboardInterrupt:
        console.print("All processes are stopped.")


if __name__ == "__main__":
    main()
