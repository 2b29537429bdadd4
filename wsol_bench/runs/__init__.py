"""Runs: an experiment resolved, evaluated part by part, stored, read, scored again, merged."""
