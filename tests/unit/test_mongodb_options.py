from __future__ import annotations

from order_history.connection import ViewConnection


def test_mongodb_client_fails_within_seconds_and_does_not_retry_writes() -> None:
    """A message has five seconds, and DocumentDB has no retryable writes."""
    with ViewConnection("mongodb://127.0.0.1:1/nowhere").database.client as client:
        options = client.options

        assert options.server_selection_timeout == 3
        assert options.pool_options.connect_timeout == 2
        assert options.pool_options.socket_timeout == 4
        assert options.retry_writes is False
        assert options.pool_options.max_idle_time_seconds == 60
