"""Tests of the console and the API's documentation in a real browser."""
