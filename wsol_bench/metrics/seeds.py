"""The spread of a stochastic method's numbers over its seeds."""

import re

import pandas as pd

from wsol_bench.runs.schema import GROUP

__all__ = ["over_seeds"]

_SEED = re.compile(r"\+seed=\d+")
# Numbers of a summary that do not depend on the maps.
_INDEPENDENT = r"^(n_|forward_|backward_|head_|seconds$)"
_COLUMNS = [*GROUP, "number", "n_seeds", "mean", "sd", "low", "high"]


def over_seeds(summary: pd.DataFrame) -> pd.DataFrame:
    """The mean and spread of each number of each method that was run with several seeds.

    Args:
        summary: summary of a run; methods that differ only in ``+seed=N`` in their names are one
            method.

    Returns:
        One row a method and number, with the columns model, method (without its seed), layer,
        protocol, protocol_hash, number, n_seeds, mean, sd (of a sample: n_seeds - 1 in the
        denominator), low and high (the extremes).
    """
    seeded = summary[summary["method"].str.contains(_SEED)]
    if seeded.empty:
        return pd.DataFrame(columns=_COLUMNS)
    numbers = seeded.select_dtypes("number")
    numbers = numbers[[name for name in numbers if not re.match(_INDEPENDENT, str(name))]]
    plain = seeded["method"].str.replace(_SEED, "", regex=True)
    long = seeded[GROUP].assign(method=plain).join(numbers).melt(GROUP, var_name="number")
    table = (
        long.dropna(subset="value")
        .groupby([*GROUP, "number"], sort=False)["value"]
        .agg(n_seeds="size", mean="mean", sd="std", low="min", high="max")
        .reset_index()
    )
    return table[table["n_seeds"] > 1].reset_index(drop=True)
