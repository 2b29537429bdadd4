"""Protocols: every choice between an image and a number, named and hashed.

A protocol is one YAML file beside this module, or any file given by path. ``model`` says what its
fields are; ``load`` reads one by name or path.
"""
