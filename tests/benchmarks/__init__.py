"""Measurements. Each command starts what it measures, on free ports, and stops it."""
