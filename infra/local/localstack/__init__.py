"""The whole system on LocalStack: in containers of ours, or on a LocalStack that runs already."""
