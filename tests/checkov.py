"""Check the stacks of samconfig.toml, as SAM transforms them, with checkov: `python -m tests.checkov CHECKOV`."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from tests.template import ROOT, STACKS

# Backups, tracing and the access log are for production.
ONLY_PRODUCTION = ["CKV_AWS_28", "CKV_AWS_73", "CKV_AWS_76"]


def main(checkov: str) -> int:
    """Return 0 if no check fails that infra/checkov/config.yaml does not list."""
    logging.disable(logging.WARNING)  # SAM's translator warns of its own feature toggles
    config = ROOT / "infra/checkov/config.yaml"
    reviewed = yaml.safe_load(config.read_text())["skip-check"]
    nested = [ROOT / f"infra/{n}.yaml" for n in ("documentdb", "monitoring", "api-gateway-account")]
    with tempfile.TemporaryDirectory() as directory:
        files = {
            n: Path(directory) / f"{n.replace(' ', '-')}.json" for n in STACKS if n != "emulator"
        }
        for name, file in files.items():
            resources = STACKS[name].transformed
            file.write_text(
                json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources})
            )
        runs = {
            (files.pop("dev"),): [*reviewed, *ONLY_PRODUCTION],
            (*files.values(), *nested): reviewed,
        }
        command = [checkov, "--config-file", str(config)]
        return max(
            subprocess.run(
                [*command, "--skip-check", ",".join(skip), "-f", *map(str, checked)], check=False
            ).returncode
            for checked, skip in runs.items()
        )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
