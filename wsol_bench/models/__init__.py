"""Classifiers and the layers their maps come from."""
