"""The clause about what a map method measures of its maps: its ``columns``."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from wsol_bench.contracts.comparison import expect_same_values
from wsol_bench.contracts.toy_networks import IMAGE_IDS, MethodCase
from wsol_bench.contracts.verdict import clause, fail

__all__ = ["measures_its_maps"]


@clause("what it measures of a map is finite, and the same wherever that map is made")
def measures_its_maps(case: MethodCase) -> None:
    """A value depends on its image and class alone: neither on the batch nor on other classes."""
    measured, classes = case.method.measured, case.toy.classes
    values = measured(case.record()).values
    order = torch.tensor([2, 0, 1])
    alone = case.record(images=case.toy.images[:1].clone(), ids=IMAGE_IDS[:1], classes=classes[:1])
    # The slots that are compared, and the values that were found for them.
    found: dict[str, tuple[Any, Mapping[str, Tensor]]] = {
        "from a second call": (slice(None), measured(case.record()).values),
        "for class slots in another order": (
            order,
            measured(case.record(classes=classes[:, order])).values,
        ),
        "for slot 0 beside other classes": (
            slice(1),
            measured(case.record(classes=case.toy.other_classes)).values,
        ),
        "for image 0 alone": (slice(None), measured(alone).values),
    }
    for name, of_batch in values.items():
        if not of_batch.isfinite().all():
            fail(f"finite values of {name!r}", of_batch[~of_batch.isfinite()][0].item())
        for circumstance, (slots, again) in found.items():
            expected = of_batch[: len(again[name]), slots]
            expect_same_values(
                expected, again[name][:, : expected.shape[1]], f"of {name!r} {circumstance}"
            )
