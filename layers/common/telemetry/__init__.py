"""Telemetry: metrics in the embedded metric format, and the trace header."""
