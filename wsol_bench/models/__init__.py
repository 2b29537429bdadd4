"""Classifiers: networks by name, their weights, their classes and their target layers."""
