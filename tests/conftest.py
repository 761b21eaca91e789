"""What every test may rely on: no AWS but an emulated one, and the functions' environment."""

from __future__ import annotations

import os

REGION = "us-east-1"

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
        "CUSTOMERS_TABLE": "Customers",
        "CUSTOMERS_OUTBOX_TABLE": "CustomersOutbox",
        "ORDERS_TABLE": "Orders",
        "ORDERS_OUTBOX_TABLE": "OrdersOutbox",
        "EVENT_BUS_NAME": "customers-and-orders",
        "DEAD_LETTER_QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/123456789012/dead-letters",
        "MONGODB_URI": os.environ.get("TEST_MONGODB_URI", "mongodb://127.0.0.1:1/tests"),
        "POWERTOOLS_DEV": "false",
    }
)
for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
    os.environ.pop(name, None)
