"""DynamoDB over one connection: consistent reads and conditional, atomic writes.

PynamoDB's models map items and build conditions. Its calls would make a connection per model, and each connection
costs an execution environment a botocore session; so the requests go through one `Connection`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.config import Config
from pynamodb.connection import Connection
from pynamodb.exceptions import VerboseClientError
from pynamodb.expressions.condition import Condition
from pynamodb.models import Model

from messaging.retry import WriteConflictError

CONNECT_TIMEOUT_SECONDS = 1
READ_TIMEOUT_SECONDS = 2
MAX_RETRIES = 1
"""Retries of one request: a stale connection is replaced. A silent DynamoDB fails a call after 4 seconds."""
USER_AGENT = "customers-and-orders"
"""Constant, because botocore otherwise composes the header twice per request: a tenth of a call's processor time."""
MAX_TRANSACTION_ITEMS = 100
"""Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html"""
MAX_READ_ATTEMPTS = 5

Item = Mapping[str, Mapping[str, Any]]
"""An item or a key in DynamoDB's JSON, for example `{"orderId": {"N": "1"}}`."""

_CONFLICT_CODES = {
    # Reasons why a transaction was cancelled
    "TransactionConflict",
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
    # Error codes of a request
    "TransactionConflictException",
    "TransactionInProgressException",
    "ThrottlingException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
}


@dataclass(frozen=True)
class Write:
    """A conditional put or delete of one item."""

    table: str
    item: Model
    condition: Condition
    is_delete: bool = False
    """Whether to delete the item with the key of `item` instead of storing `item`."""

    def request(self) -> dict[str, Any]:
        """Return the parameters of PutItem or DeleteItem."""
        names: dict[str, str] = {}
        values: dict[str, Any] = {}
        request: dict[str, Any] = {
            "TableName": self.table,
            "ConditionExpression": self.condition.serialize(names, values),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        item = self.item.to_dynamodb_dict()
        if self.is_delete:
            request["Key"] = {name: item[name] for name in _key_names(type(self.item))}
        else:
            request["Item"] = item
        request["ExpressionAttributeNames"] = {token: name for name, token in names.items()}
        if values:
            request["ExpressionAttributeValues"] = values
        return request


class ConditionFailedError(WriteConflictError):
    """The conditions of some writes failed. Nothing was written."""

    def __init__(self, failed: Sequence[tuple[Write, Item]]) -> None:
        super().__init__(", ".join(write.table for write, _ in failed))
        self.failed = failed
        """Each write whose condition failed, with the stored item (`{}` if there is none)."""


def _key_names(model: type[Model]) -> list[str]:
    keys = [a for a in model.get_attributes().values() if a.is_hash_key or a.is_range_key]
    return [key.attr_name for key in keys]


class Database:
    """The DynamoDB tables of one service."""

    def __init__(self) -> None:
        self._connection = Connection(
            connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS,
            read_timeout_seconds=READ_TIMEOUT_SECONDS,
            max_retry_attempts=MAX_RETRIES,
        )
        self._connection.session.set_default_client_config(Config(user_agent=USER_AGENT))
        # Lambda constructs this while it initializes the function, so that the first event does not wait for it.
        _ = self._connection.client

    def get(self, table: str, key: Item) -> Item | None:
        """Read one item consistently. Return None if it does not exist."""
        request = {"TableName": table, "Key": key, "ConsistentRead": True}
        return self._connection.dispatch("GetItem", request).get("Item")

    def get_all(self, table: str, keys: Iterable[Item]) -> list[Item]:
        """Read up to 100 items consistently, in no particular order. Missing items are left out.

        Raises: WriteConflictError if DynamoDB leaves keys unprocessed five times (throttling).
        """
        found: list[Item] = []
        requested = list(keys)
        if not requested:  # DynamoDB rejects a request without keys
            return found
        pending: dict[str, Any] = {table: {"Keys": requested, "ConsistentRead": True}}
        for attempt in range(MAX_READ_ATTEMPTS):
            if attempt:
                time.sleep(random.uniform(0, 0.05 * 2**attempt))  # full jitter
            answer = self._connection.dispatch("BatchGetItem", {"RequestItems": pending})
            found += answer["Responses"].get(table, [])
            pending = answer.get("UnprocessedKeys") or {}
            if not pending:
                return found
        raise WriteConflictError

    def query(self, table: str, key: Item, having: Item) -> Iterator[Item]:
        """Yield, by consistent reads, the items with these values of key attributes and of other attributes."""
        values = {**key, **having}
        request: dict[str, Any] = {
            "TableName": table,
            "ConsistentRead": True,
            "KeyConditionExpression": " AND ".join(f"#{name} = :{name}" for name in key),
            "FilterExpression": " AND ".join(f"#{name} = :{name}" for name in having),
            "ExpressionAttributeNames": {f"#{name}": name for name in values},
            "ExpressionAttributeValues": {f":{name}": value for name, value in values.items()},
        }
        while True:
            page = self._connection.dispatch("Query", request)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def scan(
        self, table: str, limit: int, after: Item | None, index: str | None = None
    ) -> tuple[list[Item], Item | None]:
        """Read up to `limit` items in no particular order, from behind the key `after`.

        Return them with the key to continue from, which is None at the end.
        """
        request: dict[str, Any] = {"TableName": table, "Limit": limit}
        if index is not None:
            request["IndexName"] = index
        if after is not None:
            request["ExclusiveStartKey"] = after
        answer = self._connection.dispatch("Scan", request)
        return answer["Items"], answer.get("LastEvaluatedKey")

    def write(self, writes: Sequence[Write]) -> None:
        """Perform all writes atomically, or none of them.

        A single write is a plain PutItem or DeleteItem: a transaction would cost twice as many write units.
        Raises: ConditionFailedError; WriteConflictError.
        """
        if len(writes) > MAX_TRANSACTION_ITEMS:
            raise ValueError(f"{len(writes)} items are more than a transaction takes")
        try:
            if len(writes) == 1:
                operation = "DeleteItem" if writes[0].is_delete else "PutItem"
                self._connection.dispatch(operation, writes[0].request())
            else:
                items = [{"Delete" if w.is_delete else "Put": w.request()} for w in writes]
                self._connection.dispatch("TransactWriteItems", {"TransactItems": items})
        except VerboseClientError as error:
            raise _translated(error, writes) from error


def _translated(error: VerboseClientError, writes: Sequence[Write]) -> Exception:
    """Return the error that a refused write stands for; `error` itself if it is an unexpected one."""
    code = error.response["Error"]["Code"]
    if code == "ConditionalCheckFailedException":
        return ConditionFailedError([(writes[0], {})])
    reasons = error.cancellation_reasons
    failed = [
        (write, reason.raw_item or {})
        for write, reason in zip(writes, reasons, strict=False)
        if reason is not None and reason.code == "ConditionalCheckFailed"
    ]
    if failed:
        return ConditionFailedError(failed)
    codes = {code, *(reason.code for reason in reasons if reason is not None)}
    return WriteConflictError() if codes & _CONFLICT_CODES else error
