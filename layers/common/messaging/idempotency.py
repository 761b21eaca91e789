"""Idempotency keys in DynamoDB, written in the transaction that creates the aggregate."""

from __future__ import annotations

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.models import Model

from messaging.dynamodb import ConditionFailedError, Write
from messaging.envelope import DomainEventEnvelope
from messaging.outbox import Outbox
from shared.errors import IdempotencyKeyReusedError
from shared.idempotency import IdempotentRequest, RequestAlreadyHandledError


class IdempotencyItem(Model):
    """A used key. DynamoDB deletes it after a day (`expiresAt` is the table's TTL attribute)."""

    class Meta:
        table_name = ""  # given to each request: messaging/dynamodb.py

    key = UnicodeAttribute(hash_key=True, attr_name="idempotencyKey")
    fingerprint = UnicodeAttribute()
    aggregate_id = NumberAttribute(attr_name="aggregateId")
    expires_at = NumberAttribute(attr_name="expiresAt")


def create_once(
    outbox: Outbox,
    insert: Write,
    envelope: DomainEventEnvelope,
    request: IdempotentRequest | None,
    table: str,
) -> None:
    """Insert an aggregate, its event and the request's idempotency key (in `table`) atomically.

    Raises: RequestAlreadyHandledError; IdempotencyKeyReusedError; WriteConflictError if the id is taken.
    """
    writes = [insert]
    if request is not None:
        item = IdempotencyItem(
            request.key,
            fingerprint=request.fingerprint,
            aggregate_id=envelope.event.aggregate_id,
            expires_at=request.expires_at,
        )
        # DynamoDB may delete an expired item days later.
        unused = IdempotencyItem.key.does_not_exist() | (
            IdempotencyItem.expires_at <= request.made_at
        )
        writes.append(Write(table, item, unused))
    try:
        outbox.write([envelope], writes)
    except ConditionFailedError as error:
        for write, stored in error.failed:
            if request is not None and isinstance(write.item, IdempotencyItem):
                if stored["fingerprint"]["S"] != request.fingerprint:
                    raise IdempotencyKeyReusedError(
                        "This Idempotency-Key was used before with a different request."
                    ) from error
                raise RequestAlreadyHandledError(int(stored["aggregateId"]["N"])) from error
        raise
