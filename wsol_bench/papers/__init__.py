"""Tables of papers: published numbers as data, each with its source and how sure it is.

A table is an experiment file with the numbers of the paper under ``published``.
"""
