"""Occlusion against loops over windows and hand-solved maps."""

import itertools
import math

import pytest
import torch
from map_methods import with_options
from masked_networks import SIZE, one_pixel, record_of
from networks import curved_net, images
from torch import Tensor, nn

from wsol_bench.errors import ConfigError
from wsol_bench.methods.occlusion import occlusion

# ---- occlusion


@pytest.mark.parametrize(
    ("window", "stride"), [(4, 3), (3, 3), (1, 1), (5, 2), (11, 4), (50, 50)], ids=str
)
def test_occlusion_equals_loops_over_windows(window: int, stride: int) -> None:
    net, batch = curved_net(), images(2, *SIZE)
    of = record_of(net, batch)
    maps = with_options(occlusion, window=window, stride=stride)(of)
    for b, image in enumerate(batch):
        total, count = torch.zeros(3, 10, 12), torch.zeros(10, 12)
        places = []
        for side in (10, 12):
            starts = [s for s in range(0, side, stride) if s + window <= side]
            end = max(side - window, 0)
            places.append(starts if starts and starts[-1] == end else [*starts, end])
        for top, left in itertools.product(*places):
            covered = image.clone()
            covered[:, top : top + window, left : left + window] = 0
            with torch.no_grad():
                both = net(torch.stack([image, covered])).softmax(1)[:, of.classes[b]]
            total[:, top : top + window, left : left + window] += (both[0] - both[1])[:, None, None]
            count[top : top + window, left : left + window] += 1
        assert (count > 0).all()
        torch.testing.assert_close(maps[b], total / count, rtol=1e-3, atol=1e-6)


def test_a_pixel_counts_in_every_window_that_covers_it() -> None:
    """Windows of 4 x 4 at multiples of 2 that cover (3, 4): rows 0 and 2, columns 2 and 4."""
    net, batch = one_pixel()
    of = record_of(net, batch, torch.tensor([[0, 1]]))
    maps = with_options(occlusion, window=4, stride=2)(of)[0]
    # Rows 0 and 1 lie in one window, which covers; 2, 3: both windows cover; 4, 5: one of two.
    of_rows = torch.tensor([1, 1, 1, 1, 0.5, 0.5, 0, 0, 0, 0, 0, 0])
    of_columns = torch.tensor([0, 0, 0.5, 0.5, 1, 1, 0.5, 0.5, 0, 0, 0, 0])
    expected = 0.8 * torch.outer(of_rows, of_columns)
    torch.testing.assert_close(maps, torch.stack([expected, -expected]), rtol=0, atol=1e-5)


def test_occlusion_resolves_the_drop_of_a_probability_close_to_one() -> None:
    class Sure(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(3, 1, 1)

        def forward(self, batch: Tensor) -> Tensor:
            self.features(batch)
            return torch.stack([20 + batch.mean((1, 2, 3)), torch.zeros(len(batch))], dim=1)

    of = record_of(Sure(), torch.ones(1, 3, 8, 8), torch.tensor([[0]]))
    maps = with_options(occlusion, window=4, stride=4)(of)
    expected = math.exp(-20.75) - math.exp(-21)
    torch.testing.assert_close(maps, torch.full((1, 1, 8, 8), expected), rtol=1e-3, atol=0)


def test_a_stride_beyond_the_window_is_an_error() -> None:
    of = record_of(curved_net(), images(3, *SIZE))
    with pytest.raises(ConfigError, match="stride 5 is larger than window 4"):
        with_options(occlusion, window=4, stride=5)(of)
