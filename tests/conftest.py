"""What every test may rely on: no AWS but an emulated one, and the functions' environment."""

from __future__ import annotations

import os

from hypothesis import settings

REGION = "us-east-1"

for name in list(os.environ):
    if name == "AWS_PROFILE" or name.startswith(("AWS_ENDPOINT_URL", "POWERTOOLS_")):
        del os.environ[name]
# Set before any test module is imported, because importing a handler makes it ready to run, as Lambda does.
os.environ.update(
    {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        # From botocore 1.44.4 on, stream reads go to a host that moto does not answer.
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
        "POWERTOOLS_SERVICE_NAME": "tests",
        "CUSTOMERS_TABLE": "Customers",
        "CUSTOMERS_OUTBOX_TABLE": "CustomersOutbox",
        "CUSTOMERS_IDEMPOTENCY_TABLE": "CustomersIdempotency",
        "ORDERS_TABLE": "Orders",
        "ORDERS_OUTBOX_TABLE": "OrdersOutbox",
        "ORDERS_IDEMPOTENCY_TABLE": "OrdersIdempotency",
        "EVENT_BUS_NAME": "customers-and-orders",
        "DEAD_LETTER_QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/123456789012/dead-letters",
        # Nothing listens there: a test of the view says which database it uses.
        "MONGODB_URI": "mongodb://127.0.0.1:1/nowhere",
        "VERSION": "tests",
    }
)

# How long an example takes says nothing here: machines differ. In CI, Hypothesis derandomizes itself.
settings.register_profile("tests", parent=settings(), deadline=None)
settings.load_profile("tests")
