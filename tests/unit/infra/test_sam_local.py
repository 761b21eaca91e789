"""The environment file and settings of `sam local`, and the forwarding to the emulators."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tomllib
from pathlib import Path

import pytest

from infra.local.sam_local import (
    CONTAINER_HOST,
    ENVIRONMENT_FILE,
    ContainerEnvironment,
    forward_port,
)
from tests.template import DEVELOPMENT, ROOT, load_template

ENDPOINT = "http://127.0.0.1:4566"
OTHER_LOOPBACK = "127.0.0.2"
COMMANDS = ["local_start_api", "local_start_lambda", "local_invoke"]


def environment_of(endpoint: str = ENDPOINT, **variables: str) -> ContainerEnvironment:
    return ContainerEnvironment.of({"Function": variables}, endpoint, mongodb_port=27018)


def test_function_keeps_its_variables_and_reaches_the_emulator() -> None:
    environment = environment_of(ORDERS_TABLE="stack-Orders", AWS_ENDPOINT_URL=ENDPOINT)

    assert environment.functions == {
        "Function": {
            "ORDERS_TABLE": "stack-Orders",
            "AWS_ENDPOINT_URL": f"http://{CONTAINER_HOST}:4566",
        }
    }
    assert environment.ports == {4566}


@pytest.mark.parametrize(
    ("deployed", "in_container", "ports"),
    [
        ("mongodb://127.0.0.1:27117/view", f"mongodb://{CONTAINER_HOST}:27117/view", {27117}),
        ("mongodb://localhost/view", f"mongodb://{CONTAINER_HOST}:27017/view", {27017}),
        # The compose file's server, at its published port.
        ("mongodb://mongodb:27017/view", f"mongodb://{CONTAINER_HOST}:27018/view", {27018}),
        (
            "mongodb://user:p%40ss@localhost:1,127.0.0.1:2/view?tls=false",
            f"mongodb://user:p%40ss@{CONTAINER_HOST}:1,{CONTAINER_HOST}:2/view?tls=false",
            {1, 2},
        ),
        ("mongodb+srv://user:pass@db.example.net/", "mongodb+srv://user:pass@db.example.net/", ()),
    ],
)
def test_mongodb_on_this_machine_is_reached_from_the_container(
    deployed: str, in_container: str, ports: set[int]
) -> None:
    environment = environment_of(MONGODB_URI=deployed)

    assert environment.functions["Function"]["MONGODB_URI"] == in_container
    assert environment.ports == {4566, *ports}


def test_emulator_on_another_machine_is_not_forwarded() -> None:
    environment = environment_of("http://localstack.example.net:4566")

    assert environment.functions["Function"] == {
        "AWS_ENDPOINT_URL": "http://localstack.example.net:4566"
    }
    assert environment.ports == set()


def test_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "new" / "environment.json"

    environment_of(ORDERS_TABLE="stack-Orders").write(file)

    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["Function"]["ORDERS_TABLE"] == "stack-Orders"


@pytest.mark.parametrize("command", COMMANDS)
def test_samconfig_names_the_file_and_the_host(command: str) -> None:
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"][command][
        "parameters"
    ]

    assert ROOT / settings["env_vars"] == ENVIRONMENT_FILE
    assert settings["add_host"] == [f"{CONTAINER_HOST}:host-gateway"]


def test_template_declares_each_variable_of_the_file() -> None:
    """SAM CLI ignores variables that the template does not declare."""
    for_all = load_template()["Globals"]["Function"]["Environment"]["Variables"]
    deployed = {
        name: {**for_all, **function["Environment"]["Variables"]}
        for name, function in DEVELOPMENT.functions.items()
    }
    names = {f: dict.fromkeys(variables, "value") for f, variables in deployed.items()}

    written = ContainerEnvironment.of(names, ENDPOINT, mongodb_port=27017).functions

    for function, variables in written.items():
        assert variables.keys() <= deployed[function].keys(), function


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address on Linux only")
def test_connections_to_the_gateway_reach_loopback() -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write((await reader.readline()).upper())
        writer.close()

    async def answer() -> bytes:
        emulator = await asyncio.start_server(shout, "127.0.0.1")
        port = emulator.sockets[0].getsockname()[1]
        await forward_port(OTHER_LOOPBACK, port)
        # The port is taken now, so nothing happens.
        await forward_port(OTHER_LOOPBACK, port)
        reader, writer = await asyncio.open_connection(OTHER_LOOPBACK, port)
        writer.write(b"hello\n")
        received = await reader.read()
        writer.close()
        return received

    assert asyncio.run(answer()) == b"HELLO\n"


def test_address_of_another_machine_is_not_forwarded() -> None:
    asyncio.run(forward_port("192.0.2.1", 4566))
