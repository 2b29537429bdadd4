"""Baselines: maps that depend neither on a network nor on the object in the image."""
