"""Values that all services share: money, ids, instants, errors of the domain, idempotency keys."""
