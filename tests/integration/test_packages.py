"""The artifacts of `sam build` are right for Lambda, on whatever machine they were built."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.template import ROOT, load_template, resources

ELF_MACHINES = {"x86_64": 62, "arm64": 183}
"""Source: the ELF specification's e_machine, for EM_X86_64 and EM_AARCH64."""
MAX_UNZIPPED_BYTES = 250 * 1024 * 1024
"""A function with all its layers. Source: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
IN_THE_RUNTIME = {"boto3", "botocore", "s3transfer", "jmespath", "urllib3"}
FOR_DEVELOPMENT = {"pytest", "moto", "hypothesis", "samcli", "mypy", "ruff", "rich", "click"}


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build directory of a plain `sam build`, with the template's defaults."""
    directory = tmp_path_factory.mktemp("sam-build")
    command = [
        str(Path(sys.prefix) / "bin/sam"),
        "build",
        *("--template-file", str(ROOT / "template.yaml")),
        *("--build-dir", str(directory)),
        "--no-cached",
        "--parallel",
    ]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LAMBDA_")}
    environment = {**inherited, "SAM_CLI_TELEMETRY": "0", "PYTHON": sys.executable}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return directory


def size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def test_native_code_is_for_the_architecture_and_python_of_the_template(artifacts: Path) -> None:
    parameters = load_template()["Parameters"]
    machine = ELF_MACHINES[parameters["Architecture"]["Default"]]
    version = parameters["PythonRuntime"]["Default"].removeprefix("python").replace(".", "")

    libraries = list((artifacts / "DependenciesLayer").rglob("*.so*"))

    assert libraries
    for library in libraries:
        header = library.read_bytes()[:20]
        assert header[:4] == b"\x7fELF", library
        assert struct.unpack("<H", header[18:20]) == (machine,), library
        assert f"cpython-{version}-" in library.name or "abi3" in library.name, library


def test_layer_has_the_packages_that_the_functions_import_and_no_others(artifacts: Path) -> None:
    names = {entry.name for entry in (artifacts / "DependenciesLayer/python").iterdir()}

    assert names >= {"aws_lambda_powertools", "pynamodb", "pymongo", "pydantic", "tenacity"}
    assert not names & IN_THE_RUNTIME
    assert not names & FOR_DEVELOPMENT


def test_every_function_with_its_layers_is_within_lambdas_limit(artifacts: Path) -> None:
    layers = sum(size(artifacts / name) for name in resources("AWS::Serverless::LayerVersion"))

    for function, properties in resources("AWS::Serverless::Function").items():
        assert size(ROOT / properties["CodeUri"]) + layers < MAX_UNZIPPED_BYTES, function


def test_common_layer_has_every_module_and_neither_tests_nor_bytecode(artifacts: Path) -> None:
    def files(directory: Path) -> set[Path]:
        return {f.relative_to(directory) for f in directory.rglob("*") if f.is_file()}

    modules = {f for f in files(ROOT / "layers/common") if f.suffix == ".py"}
    assert files(artifacts / "CommonLayer/python") == modules
