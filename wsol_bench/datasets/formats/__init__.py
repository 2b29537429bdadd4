"""The file formats of annotations, one module each.

Coordinates come out as they stand in the file: conventions of boxes end in ``assembly``.
"""
