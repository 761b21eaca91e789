"""Connection to the MongoDB-compatible database of the view."""

from __future__ import annotations

import os
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import PyMongoError

Document = dict[str, Any]

MAX_IDLE_SECONDS = 60
"""Connections that idle longer are replaced. An execution environment may be frozen for minutes between invocations,
and firewalls drop idle connections meanwhile."""


class InvalidMongoDbUriError(Exception):
    """The URI is invalid. Percent-encode the password (RFC 3986). The message leaves the URI out."""


def connect_from_environment() -> Database[Document]:
    """Connect to MONGODB_URI or, over TLS, to the URI in the secret named MONGODB_SECRET_NAME.

    The secret is fetched at once. Call this while a handler module is imported.
    """
    secret_name = os.environ.get("MONGODB_SECRET_NAME")
    if not secret_name:
        return connect(os.environ["MONGODB_URI"])
    # Imported only where it is needed.
    from aws_lambda_powertools.utilities.parameters import get_secret  # noqa: PLC0415

    return connect(str(get_secret(secret_name)), tls=True)


def connect(uri: str, **options: Any) -> Database[Document]:
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
            socketTimeoutMS=5000,
            retryWrites=False,  # DocumentDB does not support it; every write may be repeated
        )
    except (PyMongoError, ValueError) as error:
        # The driver's message quotes parts of the URI, which may be parts of the password.
        raise InvalidMongoDbUriError(type(error).__name__) from None
    return client.get_default_database("order_history")
