"""A disk that is full."""

import resource
from contextlib import contextmanager


@contextmanager
def files_of_at_most(n_bytes):
    """As on a full disk: what is longer is written in part, then fails (errno EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
