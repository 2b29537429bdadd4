"""Metrics: pure functions of rows."""
