"""The connection to the view after a rotation of the password, with stub databases: no server here has passwords."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.errors import OperationFailure

from order_history import connection
from order_history.connection import ViewConnection
from order_history.queries import OrderHistoryQueries
from order_history.view import OrderHistoryView

OLD, NEW = "mongodb://history:old@host/order_history", "mongodb://history:new@host/order_history"


class Stub:
    """A database, its client and its collections in one, which accepts one password."""

    def __init__(self, password: str, given: str, code: int) -> None:
        self.accepted = password in given
        self.code = code
        self.closed = False

    @property
    def client(self) -> Stub:
        return self

    def close(self) -> None:
        self.closed = True

    def __getitem__(self, collection: str) -> Stub:
        self._collection = collection
        return self

    def estimated_document_count(self) -> int:
        if not self.accepted:
            raise OperationFailure("refused", self.code)
        return {"names": 4, "erased": 1}[self._collection]


class Server:
    """Gives out stubs that accept `password`, and remembers them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, password: str, code: int = 18) -> None:
        self.stubs: list[Stub] = []

        def connect(uri: str, **_options: Any) -> Any:
            self.stubs.append(Stub(password, uri, code))
            return self.stubs[-1]

        monkeypatch.setattr(connection, "_connect", connect)


@pytest.mark.parametrize("code", sorted(connection.AUTHENTICATION_FAILED))
def test_rotated_password_is_fetched_and_the_query_repeated(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    server = Server(monkeypatch, "new", code)
    queries = OrderHistoryQueries(ViewConnection(OLD, lambda: NEW))

    assert queries.count_customers() == 3
    assert [stub.closed for stub in server.stubs] == [True, False]
    assert queries.count_customers() == 3
    assert len(server.stubs) == 2


def test_second_refusal_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, "newer")

    with pytest.raises(OperationFailure):
        OrderHistoryQueries(ViewConnection(OLD, lambda: NEW)).count_customers()

    assert len(server.stubs) == 2


def test_other_failures_and_fixed_uris_do_not_reconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    for find_uri, code in ((lambda: NEW, 13), (None, 18)):
        server = Server(monkeypatch, "new", code)

        with pytest.raises(OperationFailure):
            OrderHistoryQueries(ViewConnection(OLD, find_uri)).count_customers()

        assert len(server.stubs) == 1


def test_secret_is_fetched_again_without_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    from aws_lambda_powertools.utilities import parameters  # noqa: PLC0415

    fetched: list[dict[str, Any]] = []

    def get_secret(name: str, **options: Any) -> str:
        fetched.append({"name": name, **options})
        return NEW if len(fetched) > 1 else OLD

    monkeypatch.setenv("MONGODB_SECRET_NAME", "mongodb-uri")
    monkeypatch.setattr(parameters, "get_secret", get_secret)
    Server(monkeypatch, "new")

    assert OrderHistoryQueries(connection.connect_from_environment()).count_customers() == 3
    assert fetched == [{"name": "mongodb-uri", "force_fetch": True}] * 2


def test_projection_goes_on_while_another_environment_builds_the_indexes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Server(monkeypatch, "old")
    view = OrderHistoryView(ViewConnection(OLD))
    attempts: list[int] = []

    def build() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise OperationFailure("Existing index build in progress on the same collection", 40333)

    monkeypatch.setattr(view, "ensure_indexes", build)
    for _ in range(3):
        assert list(view.handle([], lambda: 10.0)) == []

    assert len(attempts) == 2, "tried again after the failure, and not after the success"
    (warning,) = map(vars, caplog.records)
    assert "index build in progress" in warning["reason"]
