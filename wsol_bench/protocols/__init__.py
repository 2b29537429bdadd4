"""Protocols: every choice between an image and a number, under one name and one hash.

A protocol is one YAML file beside this module, or any file given by path. ``sections`` holds its
fields, ``model`` the three kinds of protocols; ``load`` reads one by name or path.
"""
