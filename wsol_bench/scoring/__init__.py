"""Scoring turns localization maps and boxes into scores, by one of three kinds of protocol."""
