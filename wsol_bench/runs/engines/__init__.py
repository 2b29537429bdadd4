"""Engines evaluate the parts of an experiment, in this process or on many machines."""
