"""Connection to the MongoDB-compatible database of the view."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from aws_lambda_powertools import Logger
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

Document = dict[str, Any]
P = ParamSpec("P")
R = TypeVar("R")

logger = Logger(child=True)

MAX_IDLE_SECONDS = 60
"""Connections that idle longer are replaced. An execution environment may be frozen for minutes between invocations,
and firewalls drop idle connections meanwhile."""
AUTHENTICATION_FAILED = {18, 8000}
"""Error codes of MongoDB and Amazon DocumentDB, and of MongoDB Atlas."""


class InvalidMongoDbUriError(Exception):
    """The URI is invalid. Percent-encode the password (RFC 3986). The message leaves the URI out."""


class ViewConnection:
    """A connection to the view's database. `find_uri`, if given, returns the current URI after a rotation."""

    def __init__(self, uri: str, find_uri: Callable[[], str] | None = None, **options: Any) -> None:
        self.database = _connect(uri, **options)
        self._find_uri = find_uri
        self._options = options

    def reconnect(self) -> bool:
        """Connect with the current URI. Return False if the URI cannot change."""
        if self._find_uri is None:
            return False
        self.database.client.close()
        self.database = _connect(self._find_uri(), **self._options)
        logger.warning(
            "reconnected to the view's database", extra={"reason": "authentication failed"}
        )
        return True


class Connected(Protocol):
    """Has a connection to the view's database."""

    connection: ViewConnection


C = TypeVar("C", bound=Connected)


def survives_rotation(method: Callable[Concatenate[C, P], R]) -> Callable[Concatenate[C, P], R]:
    """Reconnect and call the method a second time if authentication fails: the password was rotated.

    The method must be idempotent.
    """

    @wraps(method)
    def retrying(self: C, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except OperationFailure as error:
            if error.code not in AUTHENTICATION_FAILED or not self.connection.reconnect():
                raise
            return method(self, *args, **kwargs)

    return retrying


def connect_from_environment() -> ViewConnection:
    """Connect to MONGODB_URI or, over TLS, to the URI in the secret named MONGODB_SECRET_NAME.

    The secret is fetched at once, so call this while a handler module is imported, and again after a rotation.
    """
    secret_name = os.environ.get("MONGODB_SECRET_NAME")
    if not secret_name:
        return ViewConnection(os.environ["MONGODB_URI"])
    # Imported only where it is needed.
    from aws_lambda_powertools.utilities.parameters import get_secret  # noqa: PLC0415

    def find_uri() -> str:
        return str(get_secret(secret_name, force_fetch=True))

    return ViewConnection(find_uri(), find_uri, tls=True)


def _connect(uri: str, **options: Any) -> Database[Document]:
    """Return the database that the URI names, or `order_history` if it names none. Sends nothing yet.

    An execution environment handles one invocation at a time, so a small pool is enough. The timeouts are well
    below a function's time limit.
    Raises: InvalidMongoDbUriError.
    """
    try:
        client: MongoClient[Document] = MongoClient(
            uri,
            **options,
            maxPoolSize=2,
            maxIdleTimeMS=MAX_IDLE_SECONDS * 1000,
            serverSelectionTimeoutMS=3000,
            connectTimeoutMS=2000,
            socketTimeoutMS=4000,
            retryWrites=False,  # DocumentDB does not support it; every write may be repeated
        )
    except (PyMongoError, ValueError) as error:
        # The driver's message quotes parts of the URI, which may be parts of the password.
        raise InvalidMongoDbUriError(type(error).__name__) from None
    return client.get_default_database("order_history")
