"""The environment file and settings of `sam local`, and the forwarding to the emulators."""

from __future__ import annotations

import socket
import sys
import threading
import tomllib
from pathlib import Path

import pytest

from infra.local.sam_local import (
    CONTAINER_HOST,
    ENVIRONMENT_FILE,
    container_environment,
    forward_port,
    write_private,
)
from tests.template import DEVELOPMENT, ROOT, load_template

ENDPOINT = "http://127.0.0.1:4566"
IN_CONTAINER = f"http://{CONTAINER_HOST}:4566"


def test_functions_keep_their_variables_and_reach_this_machine() -> None:
    host = CONTAINER_HOST
    for deployed, in_container, ports in (
        ("mongodb://127.0.0.1:27117/view", f"mongodb://{host}:27117/view", {27117}),
        ("mongodb://localhost/view", f"mongodb://{host}:27017/view", {27017}),
        # The compose file's server, at its published port.
        ("mongodb://mongodb:27017/view", f"mongodb://{host}:27018/view", {27018}),
        (
            "mongodb://user:p%40ss@localhost:1,127.0.0.1:2/view?tls=false",
            f"mongodb://user:p%40ss@{host}:1,{host}:2/view?tls=false",
            {1, 2},
        ),
        ("mongodb://[::1]:1/mongodb", f"mongodb://{host}:1/mongodb", {1}),
        ("mongodb+srv://u:pass@db.example.net/", "mongodb+srv://u:pass@db.example.net/", set()),
        (
            "mongodb://localhost:1@mongodb.example.net/",
            "mongodb://localhost:1@mongodb.example.net/",
            set(),
        ),
    ):
        variables = {"ORDERS_TABLE": "stack-Orders", "MONGODB_URI": deployed}
        functions, forwarded = container_environment({"Function": variables}, ENDPOINT, 27018)
        assert functions["Function"] == {
            "ORDERS_TABLE": "stack-Orders",
            "MONGODB_URI": in_container,
            "AWS_ENDPOINT_URL": IN_CONTAINER,
        }
        assert forwarded == {4566, *ports}


def test_emulator_on_another_machine_is_not_forwarded() -> None:
    endpoint = "http://localstack.example.net:4566"

    assert container_environment({"Function": {}}, endpoint, 27017) == (
        {"Function": {"AWS_ENDPOINT_URL": endpoint}},
        set(),
    )


def test_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "new" / "environment.json"

    write_private(file, "{}")

    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == "{}"


def test_samconfig_names_the_file_and_the_host() -> None:
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]["global"][
        "parameters"
    ]
    assert ROOT / settings["env_vars"] == ENVIRONMENT_FILE
    assert settings["add_host"] == [f"{CONTAINER_HOST}:host-gateway"]


def test_template_declares_each_variable_of_the_file() -> None:
    """SAM CLI ignores variables that the template does not declare."""
    for_all = load_template()["Globals"]["Function"]["Environment"]["Variables"]
    declared = {
        name: for_all.keys() | function["Environment"]["Variables"].keys()
        for name, function in DEVELOPMENT.functions.items()
    }
    deployed = {name: dict.fromkeys(names, "value") for name, names in declared.items()}

    written, _ = container_environment(deployed, ENDPOINT, 27017)

    for function, variables in written.items():
        assert variables.keys() <= declared[function], function


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address on Linux only")
def test_connections_to_the_gateway_reach_loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as emulator:
        port = emulator.getsockname()[1]

        def shout() -> None:
            connection, _ = emulator.accept()
            with connection:
                connection.sendall(connection.recv(100).upper())

        threading.Thread(target=shout, daemon=True).start()
        forward_port("127.0.0.2", port)
        # The port is taken now, and the second address is another machine's. Nothing happens.
        forward_port("127.0.0.2", port)
        forward_port("192.0.2.1", port)
        with socket.create_connection(("127.0.0.2", port), timeout=10) as client:
            client.sendall(b"hello\n")
            assert client.recv(100) == b"HELLO\n"
            assert client.recv(100) == b"", "the emulator's end closes the client's"
