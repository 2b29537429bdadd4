"""Comparisons of runs in everything but the seconds that they took."""

import pandas as pd


def timeless(table: pd.DataFrame) -> pd.DataFrame:
    """A table of a run without its measured seconds."""
    return table.drop(columns="seconds", errors="ignore")


def assert_same_tables(ours, theirs, names) -> None:
    """The tables of two runs (attributes of ``Results``) are equal bit for bit."""
    for name in names:
        pd.testing.assert_frame_equal(
            timeless(getattr(ours, name)), timeless(getattr(theirs, name)), check_exact=True
        )
