"""Compiled code (numba) of the union-find: which tree a run or a hill of pixels belongs to."""

from typing import no_type_check

import numba

__all__ = ["find_root"]


@no_type_check
@numba.njit(nogil=True, cache=True)
def find_root(parent, node):
    """Return the root of a node's tree, and halve the path to it for later calls."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node
