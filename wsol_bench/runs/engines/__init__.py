"""Engines: who evaluates which part of an experiment, and where."""
