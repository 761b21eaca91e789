"""The shared kernel: what all services mean by an amount, an id, a refusal."""
