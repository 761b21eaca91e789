"""Edits of a dead letter's body. The original body stays with the message that is sent instead."""

from __future__ import annotations

import getpass
import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from infra.ops.letter import Letter
from infra.ops.target import OperateError, Target

ORIGINAL, ORIGINAL_FILE = "originalBody", "originalBodyFile"
EDITED_BY, EDITED_AT = "editedBy", "editedAt"
MAX_BYTES = 256 * 1024 - 2048
"""Of both bodies together. All queues take 256 KiB, of which the rest is for the small attributes.
Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""


@dataclass(frozen=True)
class Edit:
    """A new body for one letter, and the person who wrote it."""

    body: str
    editor: str

    @classmethod
    def of(cls, file: Path, target: Target) -> Self:
        """Read the new body from the file. Raises: OperateError if it is not a JSON object."""
        try:
            body = file.read_text(encoding="utf-8")
            is_object = isinstance(json.loads(body), dict)
        except (OSError, ValueError, RecursionError) as error:
            raise OperateError(f"EDIT={file}: {error}") from error
        if not is_object:
            raise OperateError(f"EDIT={file} is not a JSON object.")
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container's user may have no name
            user = str(os.getuid())
        editor = f"{user}@{socket.gethostname()}"
        if target.name == "aws":
            editor += f" {target.client('sts').get_caller_identity()['Arn']}"
        return cls(body, editor)

    def message(self, letter: Letter) -> tuple[dict[str, Any], str]:
        """Return the message to send instead of the letter, and a note for the operator.

        The original body of the first edit is kept: in an attribute, or in a file if both bodies are too large.
        """
        texts, note = edits(letter), ""
        if not texts.keys() & {ORIGINAL, ORIGINAL_FILE}:
            if len(self.body.encode()) + len(letter.text.encode()) <= MAX_BYTES:
                texts[ORIGINAL] = letter.text
            else:
                path = Path(f"dead-letter-{letter.id}.original").resolve()
                path.write_text(letter.text, encoding="utf-8")
                texts[ORIGINAL_FILE] = str(path)
                note = f"; the original body is in {path}"
        texts[EDITED_BY] = self.editor
        texts[EDITED_AT] = datetime.now(UTC).isoformat(timespec="seconds")
        return message(self.body, texts), note


def edits(letter: Letter) -> dict[str, str]:
    """Return the attributes of an earlier edit, which stay with the message."""
    names = (ORIGINAL, ORIGINAL_FILE, EDITED_BY, EDITED_AT)
    return {name: letter.attributes[name] for name in names if letter.attributes.get(name)}


def message(body: str, attributes: dict[str, str]) -> dict[str, Any]:
    """Return the arguments of SQS's SendMessage."""
    values = {n: {"DataType": "String", "StringValue": text} for n, text in attributes.items()}
    return {"MessageBody": body, "MessageAttributes": values}
