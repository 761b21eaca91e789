"""The trace header of AWS X-Ray. Lambda's active tracing does the rest."""

from __future__ import annotations

import os


def header() -> str | None:
    """Return the current invocation's `X-Amzn-Trace-Id`; None if the invocation is not sampled."""
    value = os.environ.get("_X_AMZN_TRACE_ID", "")
    is_off = os.environ.get("POWERTOOLS_TRACE_DISABLED", "").lower() in {"1", "true", "yes", "on"}
    return value if "Sampled=1" in value and not is_off else None
