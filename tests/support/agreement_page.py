"""The page docs/agreement.md, our maps beside other libraries' maps; scripts/agreement runs it."""

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from agreement import (
    LIBRARIES,
    REPOSITORY,
    SPECIFICATION,
    all_pairs,
    called,
    compare,
    network,
    our_maps,
)
from peer_maps import their_maps

from wsol_bench.report.tables import markdown_table

PAGE = """\
# Agreement with other libraries

    WSOL_BENCH_DATA=<folder of the real data> scripts/agreement

writes this page. It compares every built-in map method that one of {libraries}
also has with that library's method, on the same real images and networks. Images, networks,
arguments and tolerance are fixed in
[tests/reference/agreement.yaml](../tests/reference/agreement.yaml), which was written before the
first comparison (its head says what has changed since);
`tests/docs/test_agreement.py` checks every line.

Each map is scaled to 0..1. The correlation is the lowest, and the difference the largest, of
{images} images and the {k} best classes of each (of {fewer} images on `small` networks). Maps agree
where the correlation is at least {correlation} and the difference at most {difference}. Where a
method draws random numbers it is compared without noise.

Networks: {networks}.

{table}

## What differs, and why

A test checks that these pairs still differ by as much (except where the sign of a singular vector
decides, which depends on the machine). It also checks, except for LeGrad, that the other library's
equation, computed from our record of the network, gives that library's map within the same
tolerance. g is the gradient of the class score y^c at the
activation A.

{explained}

## Methods that none of the three has

{alone}
"""


def page(data: Path) -> str:
    lines = []
    for pair in all_pairs():
        net = network(data, pair.network)
        agreement = compare(our_maps(pair, net), their_maps(pair, net), pair)
        entry = pair.explained
        verdict = (
            "agrees" if agreement.holds else f"differs: {entry['why'] if entry else 'unexplained'}"
        )
        lines.append(
            {
                "method": f"`{pair.ours}`",
                "peer": f"`{pair.theirs}`",
                "network": pair.network,
                "correlation": f"{_rounded(agreement.correlation, np.floor):.4f}",
                "difference": f"{_rounded(agreement.difference, np.ceil):.4f}",
                "verdict": verdict,
            }
        )
        print(" | ".join(lines[-1].values()), file=sys.stderr, flush=True)
    networks = SPECIFICATION["networks"]
    return PAGE.format(
        libraries=", ".join(f"{name} {version(name)}" for name in LIBRARIES.values())
        + f" (torch {version('torch')})",
        images=len(SPECIFICATION["images"]),
        k=SPECIFICATION["k"],
        fewer=min(entry.get("images", 99) for entry in networks.values()),
        **SPECIFICATION["tolerance"],
        networks="; ".join(_described(name) for name in networks),
        table=markdown_table(pd.DataFrame(lines)),
        explained="\n".join(_explanation(entry) for entry in SPECIFICATION["explained"]),
        alone="\n".join(f"- `{n}`: {why}" for n, why in SPECIFICATION["without_a_peer"].items()),
    )


def _rounded(value: float, to_worse: Any) -> float:
    """A number with four digits, rounded to the worse side, but for float32's rounding error."""
    return float(to_worse(round(value, 5) * 1e4) / 1e4)


def _described(name: str) -> str:
    entry = SPECIFICATION["networks"][name]
    weights = "random weights" if entry["weights"] == "random" else "trained"
    layer = f", layer `{entry['layer']}`" if "layer" in entry else ""
    relu = ", GELU for each ReLU" if "relu" in entry else ""
    return f"{name} ({weights}, {entry['side']} pixels{layer}{relu})"


def _explanation(entry: dict[str, Any]) -> str:
    ours = called(entry["method"], entry.get("options", {}))
    return (
        f"- `{ours}` and `{entry['peer']}`: {entry['why']}. Ours: {entry['ours']}. "
        f"Theirs: {entry['theirs']}."
    )


if __name__ == "__main__":
    if "WSOL_BENCH_DATA" not in os.environ:
        sys.exit("set WSOL_BENCH_DATA to the folder of real data")
    text = page(Path(os.environ["WSOL_BENCH_DATA"]))
    (REPOSITORY / "docs/agreement.md").write_text(text)
