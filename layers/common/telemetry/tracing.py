"""AWS X-Ray, where an invocation is traced. Elsewhere nothing here does anything.

Lambda and API Gateway make segments of their own; a part of one is a datagram to the daemon beside the function, in
a documented format. AWS's SDK for it takes 0.15 seconds to import, for what is done here in one function.
Source: https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

_DAEMON_HEADER = b'{"format": "json", "version": 1}\n'
_DEFAULT_DAEMON = "127.0.0.1:2000"
_NOT_IN_A_NAME = r"[^\w\s.:/%&#=+\\@-]"


def header() -> str | None:
    """The trace that the current invocation is part of, as `X-Amzn-Trace-Id` has it; None if it is not traced."""
    value = os.environ.get("_X_AMZN_TRACE_ID", "")
    is_off = os.environ.get("POWERTOOLS_TRACE_DISABLED", "").lower() in {"1", "true", "yes", "on"}
    return value if "Sampled=1" in value and not is_off else None


@contextmanager
def subsegment(name: str, keys: Mapping[str, object]) -> Iterator[None]:
    """What is done inside is a part of the trace called `name`, found by those of the `keys` that are ids.

    An error inside marks it as failed; of the error itself nothing is told.
    """
    current = header()
    if current is None:
        yield
        return
    started_at, is_fault = time.time(), True
    try:
        yield
        is_fault = False
    finally:
        trace = dict(part.split("=", 1) for part in current.split(";") if "=" in part)
        _send(
            {
                "type": "subsegment",
                "name": re.sub(_NOT_IN_A_NAME, "", name),
                "id": secrets.token_hex(8),
                "trace_id": trace.get("Root"),
                "parent_id": trace.get("Parent"),
                "start_time": started_at,
                "end_time": time.time(),
                "annotations": {k: str(v) for k, v in keys.items() if k.endswith("_id")},
                "fault": is_fault,
            }
        )


def _send(subsegment: Mapping[str, object]) -> None:
    address = os.environ.get("AWS_XRAY_DAEMON_ADDRESS", _DEFAULT_DAEMON)
    host, _, port = address.rpartition(":")
    # Whether anybody listens must not matter to what is traced.
    with suppress(OSError, ValueError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.setblocking(False)
        daemon.sendto(_DAEMON_HEADER + json.dumps(subsegment).encode(), (host, int(port)))
