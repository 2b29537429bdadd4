"""Scoring: localization maps and boxes in, scores out, by one of three kinds of protocol."""
