"""The page docs/agreement.md, our maps beside those of peers and authors; scripts/agreement."""

import os
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from agreement import (
    LIBRARIES,
    REPOSITORY,
    SPECIFICATION,
    Agreement,
    Pair,
    all_pairs,
    called,
    compare,
    default_maps,
    network,
    our_maps,
)
from author_maps import AUTHORS
from peer_maps import their_maps

from wsol_bench.report.tables import markdown_table

PAGE = """\
# Agreement with other libraries and with authors' code

    WSOL_BENCH_DATA=<folder of the real data> scripts/agreement

writes this page. Other libraries and authors' code call different algorithms by the same name. Each
line names the variant of ours, a method with its options, that a peer follows, and says how well
the maps agree on the same real images and networks. The peers are {libraries},
and authors' repositories, whose algorithms are written out in
[tests/support/author_maps.py](../tests/support/author_maps.py). Images, networks, arguments and
tolerance are fixed in [tests/reference/agreement.yaml](../tests/reference/agreement.yaml), which
was written before the first comparison (its head says what has changed since);
`tests/docs/test_agreement.py` checks every line.

Each map is scaled to 0..1. The correlation is the lowest, and the difference the largest, of
{images} images and 2 classes of each (of {fewer} images on `small` and `negative` networks) on the
networks of the line. Maps agree where the correlation is at least {correlation} and the difference
at most {difference}. Where a method draws random numbers it is compared without noise.

Networks: {networks}.

## What each peer follows

If that is not the default of the method whose name the peer has, the last column shows the default,
and its lowest correlation with the peer.

{followed}

## Peers that follow none of our variants

Each is beside the variant that is nearest by its equations.

{differing}

A test checks that these pairs still differ by as much (except where the sign of a singular vector
decides, which depends on the machine). It also checks that the peer's equation, computed from our
record of the network, gives the peer's map within the same tolerance. g is the gradient of the
class score y^c at the activation A.

{explained}

## Methods that no peer has

{alone}
"""


def page(data: Path) -> str:
    followed: dict[tuple[str, ...], list[tuple[Pair, Agreement, float | None]]] = defaultdict(list)
    differing: dict[tuple[str, ...], list[tuple[Pair, Agreement, float | None]]] = defaultdict(list)
    for pair in all_pairs():
        net = network(data, pair.network)
        theirs = their_maps(pair, net)
        agreement = compare(our_maps(pair, net), theirs, pair)
        default = None
        if pair.instead_of is not None:
            default = compare(default_maps(pair, net), theirs, pair).correlation
        why = "" if pair.explained is None else pair.explained["why"]
        lines = followed if agreement.holds else differing
        lines[pair.theirs, pair.ours, "" if agreement.holds else why or "unexplained"].append(
            (pair, agreement, default)
        )
        print(pair.key, agreement, default, file=sys.stderr, flush=True)
    networks = SPECIFICATION["networks"]
    return PAGE.format(
        libraries=", ".join(f"{name} {version(name)}" for name in LIBRARIES.values())
        + f" (torch {version('torch')})",
        images=len(SPECIFICATION["images"]),
        fewer=min(entry.get("images", 99) for entry in networks.values()),
        **SPECIFICATION["tolerance"],
        networks="; ".join(_described(name) for name in networks),
        followed=_table(followed, "our variant", "the default"),
        differing=_table(differing, "nearest variant of ours", "what differs"),
        explained="\n".join(_explanation(entry) for entry in SPECIFICATION["explained"]),
        alone="\n".join(f"- `{n}`: {why}" for n, why in SPECIFICATION["without_a_peer"].items()),
    )


def _table(
    lines: dict[tuple[str, ...], list[tuple[Pair, Agreement, float | None]]], ours: str, last: str
) -> str:
    """One line for each peer and variant, with the worst figures on all networks of the line."""
    rows = []
    for (peer, variant, why), found in lines.items():
        pair = found[0][0]
        default = [correlation for _, _, correlation in found if correlation is not None]
        expected = f"`{pair.instead_of}`: {_low(min(default))}" if default else ""
        differences = [agreement.difference for _, agreement, _ in found]
        rows.append(
            {
                "peer": f"`{peer}`" if pair.peer not in AUTHORS else _link(pair.peer),
                ours: f"`{variant}`",
                "networks": ", ".join(one.network for one, _, _ in found),
                "correlation": _low(min(agreement.correlation for _, agreement, _ in found)),
                "difference": f"{_rounded(max(differences), np.ceil):.4f}",
                last: why or expected,
            }
        )
    return markdown_table(pd.DataFrame(rows))


def _link(repository: str) -> str:
    return f"[{repository}](https://github.com/{repository})"


def _low(correlation: float) -> str:
    return f"{_rounded(correlation, np.floor):.4f}"


def _rounded(value: float, to_worse: Any) -> float:
    """A number with four digits, rounded to the worse side, but for float32's rounding error."""
    return float(to_worse(round(value, 5) * 1e4) / 1e4)


def _described(name: str) -> str:
    entry = SPECIFICATION["networks"][name]
    weights = "random weights" if entry["weights"] == "random" else "trained"
    details = [f"layer `{entry['layer']}`"] if "layer" in entry else []
    details += ["GELU for each ReLU"] if "relu" in entry else []
    details += ["without its last ReLU, at the classes of the lowest logits"] * (
        "last_relu" in entry
    )
    pixels = f"{entry['side']} pixels"
    return f"{name} ({', '.join([weights, pixels, *details])})"


def _explanation(entry: dict[str, Any]) -> str:
    ours = called(entry["method"], entry.get("options", {}))
    return (
        f"- `{entry['peer']}` and `{ours}`: {entry['why']}. Ours: {entry['ours']}. "
        f"Theirs: {entry['theirs']}."
    )


if __name__ == "__main__":
    if "WSOL_BENCH_DATA" not in os.environ:
        sys.exit("set WSOL_BENCH_DATA to the folder of real data")
    text = page(Path(os.environ["WSOL_BENCH_DATA"]))
    (REPOSITORY / "docs/agreement.md").write_text(text)
