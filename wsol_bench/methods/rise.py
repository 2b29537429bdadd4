"""RISE: the mean of random masks, weighted by the probabilities that they leave."""

from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from pydantic import Field, PositiveInt
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["RandomMasks", "rise"]


@cam_method("rise", plan=Plan(), scope="image", classes="label", paper="arXiv:1806.07421")
def rise(
    record: Record,
    *,
    masks: PositiveInt = 4000,
    cells: PositiveInt = 7,
    p1: Annotated[float, Field(gt=0, le=1)] = 0.5,
    seed: int = 0,
) -> Float[Tensor, "batch k height width"]:
    """RISE (Petsiuk et al., BMVC 2018, eq. 6): random masks, weighted by class probability.

    ``L^c = 1 / (N p1) sum_i p^c(M_i X) M_i``, where X, (3, height, width), is the input, ``p^c``
    the probability of class c (softmax; sigmoid in a multi-label network), and ``M_i``, (height,
    width), a mask: a grid of cells that are 1 with probability p1 and else 0, upsampled (bilinear)
    to one cell more a side than the input has, and cut to the input's size at a random place. The
    masks multiply the normalized input: what they hide has the mean color. The map has the input's
    size.

    Beyond its border, a grid repeats its outermost cells; the authors' code mirrors the grid there.

    Cost: one forward pass for each mask.

    Args:
        record: a record of any layer.
        masks: N; the paper takes 4000 for VGG-16 and 8000 for ResNet-50.
        cells: number of cells on a side of the grid.
        p1: probability that a cell is seen.
        seed: seed of the masks. Masks also depend on the image's id, and on nothing else, so that
            an image has the same map in any batch.

    Raises:
        NotApplicableError: a target is a function of the output, which has no probability.
    """
    images = record.probe.images
    height, width = images.shape[-2:]
    masks_of_image = [
        RandomMasks.draw(masks, cells, p1, height, width, generator).to(images.device)
        for generator in record.probe.noise(seed)
    ]
    maps = images.new_zeros((*record.classes.shape, height, width))
    for chunk in record.probe.chunks(len(images) * masks, "RISE: masked images"):
        # A chunk holds masks of one image or of several.
        start, stop = chunk.start, chunk.stop
        visible = {
            b: masks_of_image[b].of(slice(max(start - b * masks, 0), stop - b * masks))
            for b in range(start // masks, (stop - 1) // masks + 1)
        }
        logits = record.probe.logits(torch.cat([visible[b][:, None] * images[b] for b in visible]))
        sizes = [len(values) for values in visible.values()]
        split = record.probabilities(logits).split(sizes)
        for b, probabilities in zip(visible, split, strict=True):
            maps[b] += torch.einsum("nk,nhw->khw", probabilities[:, record.classes[b]], visible[b])
    return maps / (masks * p1)


class RandomMasks(NamedTuple):
    """Random masks of one image, stored as grids and cuts: all masks would not fit in memory.

    Attributes:
        grids: whether each cell is seen.
        tops: first row of each cut, less than the height of a cell.
        lefts: first column of each cut, less than the width of a cell.
        height: height of the masks, in pixels.
        width: width of the masks, in pixels.
    """

    grids: Bool[Tensor, "n cells cells"]
    tops: Int64[Tensor, " n"]
    lefts: Int64[Tensor, " n"]
    height: int
    width: int

    @classmethod
    def draw(
        cls, n: int, cells: int, p1: float, height: int, width: int, generator: torch.Generator
    ) -> "RandomMasks":
        """Draw n masks, on the generator's device."""
        return cls(
            torch.rand((n, cells, cells), generator=generator) < p1,
            torch.randint(_cell(height, cells), (n,), generator=generator),
            torch.randint(_cell(width, cells), (n,), generator=generator),
            height,
            width,
        )

    def to(self, device: torch.device) -> "RandomMasks":
        """The same masks on a device."""
        return self._replace(
            grids=self.grids.to(device), tops=self.tops.to(device), lefts=self.lefts.to(device)
        )

    def of(self, numbers: slice) -> Float[Tensor, "m height width"]:
        """A slice of the masks, with values from 0 to 1."""
        grids = self.grids[numbers, None].float()
        cells = grids.shape[-1]
        size = tuple((cells + 1) * _cell(side, cells) for side in (self.height, self.width))
        large = F.interpolate(grids, size, mode="bilinear", align_corners=False)[:, 0]
        rows = self.tops[numbers, None] + torch.arange(self.height, device=grids.device)
        columns = self.lefts[numbers, None] + torch.arange(self.width, device=grids.device)
        mask = torch.arange(len(large), device=grids.device)[:, None, None]
        return large[mask, rows[:, :, None], columns[:, None, :]]


def _cell(side: int, cells: int) -> int:
    """The side of a cell in pixels, so that the cells cover the side of the input."""
    return -(-side // cells)
