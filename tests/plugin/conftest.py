"""Keeps pytest out of this folder: it holds no tests, and importing the plug-in registers it."""

collect_ignore_glob = ["*.py"]
