"""The artifacts of a plain `sam build` for AWS."""

from __future__ import annotations

import os
import struct
import sys
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path

import pytest

from tests.commands import run
from tests.template import ROOT, load_template, resources

ELF_MACHINES = {"x86_64": 62, "arm64": 183}
"""Source: the ELF specification's e_machine, for EM_X86_64 and EM_AARCH64."""
MAX_UNZIPPED_BYTES = 250 * 1024 * 1024
"""Limit of a function with all its layers. Source: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
IN_THE_RUNTIME = {"boto3", "botocore", "s3transfer", "jmespath", "urllib3"}
UNCHECKED_HASH = b"\x01\x00\x00\x00"
"""The flags of bytecode that is used without a look at its source. Source: PEP 552"""
FOR_DEVELOPMENT = {"pytest", "moto", "hypothesis", "samcli", "mypy", "ruff", "rich", "click"}


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build directory of a plain `sam build`, with the template's defaults."""
    directory = tmp_path_factory.mktemp("sam-build")
    command = [f"{sys.prefix}/bin/sam", "build", "--no-cached", "--parallel"]
    command += ["--template-file", str(ROOT / "template.yaml"), "--build-dir", str(directory)]
    inherited = dict.fromkeys(name for name in os.environ if name.startswith("LAMBDA_"))
    variables = {"SAM_CLI_TELEMETRY": "0", "LAYER_PYTHON": sys.executable}
    done = run(*command, environment={**inherited, **variables})
    assert done.returncode == 0, done.stderr
    return directory


def size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def test_native_code_matches_the_templates_architecture_and_python(artifacts: Path) -> None:
    parameters = load_template()["Parameters"]
    machine = ELF_MACHINES[parameters["Architecture"]["Default"]]
    version = parameters["PythonRuntime"]["Default"].removeprefix("python").replace(".", "")

    libraries = list(artifacts.glob("*Layer/**/*.so*"))

    assert libraries
    for library in libraries:
        header = library.read_bytes()[:20]
        assert header[:4] == b"\x7fELF", library
        assert struct.unpack("<H", header[18:20]) == (machine,), library
        assert f"cpython-{version}-" in library.name or "abi3" in library.name, library


PACKAGES = {
    "DependenciesLayer": {"aws_lambda_powertools", "pynamodb", "tenacity"},
    "ApiLayer": {"pydantic", "pydantic_core"},
    "MongoDbLayer": {"pymongo", "bson"},
}


def test_a_layer_has_its_packages_and_none_of_another_layer(artifacts: Path) -> None:
    for layer, packages in PACKAGES.items():
        names = {entry.name for entry in (artifacts / layer / "python").iterdir()}
        others = set().union(*PACKAGES.values()) - packages

        assert names >= packages, layer
        assert not names & (others | IN_THE_RUNTIME | FOR_DEVELOPMENT | {"jwt"}), layer

    ours = {file.name for file in (artifacts / "CommonLayer/python").rglob("*.py")}
    assert {"customer.py", "outbox.py", "resolver.py"} <= ours
    assert not any(name.startswith("test_") for name in ours)


def test_packages_are_within_lambdas_limit(artifacts: Path) -> None:
    layers = sum(size(artifacts / name) for name in resources("AWS::Serverless::LayerVersion"))

    for function, properties in resources("AWS::Serverless::Function").items():
        assert size(ROOT / properties["CodeUri"]) + layers < MAX_UNZIPPED_BYTES, function


def build_common_layer(directory: Path, runtime: str) -> str:
    """Build the layer. Return the build's messages."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"ARTIFACTS_DIR": str(directory), "PYTHON_RUNTIME": runtime, "PATH": path}
    done = run("make", "build-CommonLayer", cwd=ROOT / "layers/common", environment=environment)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_bytecode_is_for_the_templates_python_and_never_checked_against_its_source(
    tmp_path: Path,
) -> None:
    """/opt is read-only on Lambda, so a cold start could not save the bytecode that it compiles."""
    build_common_layer(tmp_path, f"python{sys.version_info.major}.{sys.version_info.minor}")

    sources = [file for file in tmp_path.rglob("*.py") if file.stat().st_size]
    assert sources
    for source in sources:
        header = Path(cache_from_source(str(source))).read_bytes()[:8]
        assert header == MAGIC_NUMBER + UNCHECKED_HASH, source


def test_layer_without_its_python_is_built_without_bytecode_and_says_so(tmp_path: Path) -> None:
    assert "python3.99 is not installed" in build_common_layer(tmp_path, "python3.99")
    assert list(tmp_path.rglob("customer.py"))
    assert not list(tmp_path.rglob("*.pyc"))
