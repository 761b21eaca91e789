"""Values that all services share: money, ids, instants, errors of the domain, idempotency keys."""

import gc

# An import of the handlers creates some 130,000 objects that live as long as the process. With Python's default of 700
# new objects, garbage collections take a quarter of a cold start and find nothing.
gc.set_threshold(50_000)
