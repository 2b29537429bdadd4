"""RISE: the mean of random masks, weighed by the probabilities that they leave."""

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
    """RISE (Petsiuk et al., BMVC 2018, eq. 6): ``L^c = 1 / (N p1) sum_i p^c(M_i X) M_i``.

    ``p^c`` is the probability (softmax) of the class, ``M_i`` a grid of cells that are 1 with
    probability p1 and else 0, upsampled (bilinear) to one cell more a side than the input has, and
    cut to the input's size at a random place. The masks multiply the normalized input: what they
    hide has the mean color. The map has the input's size.

    At its border, a grid goes on as its outermost cells; in the authors' code it is mirrored there.

    Args:
        record: of any layer.
        masks: N; the paper takes 4000 for VGG-16 and 8000 for ResNet-50.
        cells: a side of the grid.
        p1: the probability that a cell is seen.
        seed: of the masks; with it each image's own id, so that its map is the same in any batch.
    """
    images = record.probe.images
    height, width = images.shape[-2:]
    drawn = [
        RandomMasks.draw(masks, cells, p1, height, width, generator).to(images.device)
        for generator in record.probe.noise(seed)
    ]
    maps = images.new_zeros((*record.classes.shape, height, width))
    for part in record.probe.chunks(len(images) * masks, "RISE: masked images"):
        # A part begins in one image and ends in the same one, or in another.
        those = range(part.start // masks, (part.stop - 1) // masks + 1)
        seen = {
            b: drawn[b].of(slice(max(part.start - b * masks, 0), part.stop - b * masks))
            for b in those
        }
        logits = record.probe.logits(torch.cat([seen[b][:, None] * images[b] for b in seen]))
        sizes = [len(one) for one in seen.values()]
        for b, of_image in zip(seen, logits.softmax(dim=1).split(sizes), strict=True):
            maps[b] += torch.einsum("nk,nhw->khw", of_image[:, record.classes[b]], seen[b])
    return maps / (masks * p1)


class RandomMasks(NamedTuple):
    """Random masks of one image, as what they are made of: all of them would not fit the memory.

    Attributes:
        grids: the cells that are seen.
        tops: first row of the cut, less than the height of a cell.
        lefts: first column of the cut, less than the width of a cell.
        height: of the masks.
        width: of the masks.
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
        """Masks of a generator, on its device."""
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
        """Some of the masks, 0..1."""
        grids = self.grids[numbers, None].float()
        cells = grids.shape[-1]
        size = tuple((cells + 1) * _cell(side, cells) for side in (self.height, self.width))
        large = F.interpolate(grids, size, mode="bilinear", align_corners=False)[:, 0]
        rows = self.tops[numbers, None] + torch.arange(self.height, device=grids.device)
        columns = self.lefts[numbers, None] + torch.arange(self.width, device=grids.device)
        which = torch.arange(len(large), device=grids.device)[:, None, None]
        return large[which, rows[:, :, None], columns[:, None, :]]


def _cell(side: int, cells: int) -> int:
    """Pixels of a cell: enough that the cells cover the side."""
    return -(-side // cells)
