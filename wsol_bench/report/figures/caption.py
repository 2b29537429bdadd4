"""What a figure is of, in a sentence that stays with it when it leaves its folder."""

from collections.abc import Iterable

import numpy as np

from wsol_bench.report.figures.style import plain_text
from wsol_bench.report.page.collection import Collection
from wsol_bench.runs.identity import NO_MODEL
from wsol_bench.runs.stored_run import StoredRun

__all__ = ["facts_of"]


def facts_of(collection: Collection, models: Iterable[int] | None = None) -> list[str]:
    """The sentences that name models, numbers of images, data set and protocol.

    Each combination of data set and protocol has a sentence of its own.

    Args:
        collection: the runs.
        models: the positions of the models that are shown; None for all.
    """
    found: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for number in range(len(collection.models)) if models is None else sorted(set(models)):
        model = collection.models[number]
        run = collection.runs[model.run]
        name = "" if model.name == NO_MODEL else plain_text(model.name)
        # The images that the numbers are made of.
        n_images = int(np.sum(model.evaluated & ~model.held_out))
        of = found.setdefault((_dataset(run), _protocol(run)), [])
        if (name, n_images) not in of:
            of.append((name, n_images))
    return [
        f"{_counted(models)} images of {dataset}, {protocol}."
        for (dataset, protocol), models in found.items()
    ]


def _counted(models: list[tuple[str, int]]) -> str:
    """Models with their numbers of images: ``a and b on 40, c on 39``."""
    names: dict[int, list[str]] = {}
    for name, n_images in models:
        names.setdefault(n_images, []).append(name)
    parts = []
    for n_images, of_count in names.items():
        named = [name for name in of_count if name]
        joined = " and ".join(filter(None, [", ".join(named[:-1]), *named[-1:]]))
        parts.append(f"{joined} on {n_images:,}" if joined else f"{n_images:,}")
    return ", ".join(parts)


def _dataset(run: StoredRun) -> str:
    """The data set of a run; with a limit or a shard, since its numbers are of these images."""
    identity = run.identity
    parts = []
    if (limit := identity.config.get("limit")) is not None:
        parts.append(f"limit {limit:,}")
    if identity.shard is not None:
        parts.append(f"shard {identity.shard}")
    name = plain_text(identity.dataset.name)
    return f"{name} ({', '.join(parts)})" if parts else name


def _protocol(run: StoredRun) -> str:
    protocol = run.identity.protocol
    return f"protocol {plain_text(protocol.name)} ({run.identity.protocol_hash})"
