"""Check the stacks of samconfig.toml, as SAM transforms them, with checkov: `python -m tests.checkov CHECKOV`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.template import ROOT, STACKS

# Backups, tracing and the access log are for production.
ONLY_PRODUCTION = ["CKV_AWS_28", "CKV_AWS_73", "CKV_AWS_76"]


def main(checkov: str) -> int:
    """Return 0 if no check fails that infra/checkov/config.yaml does not list."""
    command = [checkov, "--config-file", str(ROOT / "infra/checkov/config.yaml")]
    with tempfile.TemporaryDirectory() as directory:
        files = {name: Path(directory) / f"{name.replace(' ', '-')}.json" for name in STACKS}
        for name, file in files.items():
            template = {
                "AWSTemplateFormatVersion": "2010-09-09",
                "Resources": STACKS[name].transformed,
            }
            file.write_text(json.dumps(template))
        development = [files[name] for name in ("emulator", "dev")]
        others = [
            ROOT / f"infra/{name}.yaml"
            for name in ("documentdb", "monitoring", "api-gateway-account")
        ]
        production = [file for file in files.values() if file not in development] + others
        skipped = ["--skip-check", ",".join(ONLY_PRODUCTION)]
        runs = [
            [*command, "-f", *map(str, production)],
            [*command, *skipped, "-f", *map(str, development)],
        ]
        return max(subprocess.run(run, check=False).returncode for run in runs)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
