"""RISE against its expectation, loops over masks and the authors' masks."""

import numpy as np
import pytest
import torch
from map_methods import with_options
from masked_networks import SIZE, one_pixel, record_of
from networks import curved_net, images

from wsol_bench.methods.rise import RandomMasks, rise


def test_rise_is_the_mean_of_masks_in_units_of_their_probability() -> None:
    """E[p(M X) M(q)] / p1 = 0.8 E[M(pixel) M(q)] / p1 + 0.1; far from the pixel, 0.8 p1 + 0.1."""
    net, batch = one_pixel()
    of = record_of(net, batch, torch.tensor([[0, 1]]))
    maps = with_options(rise, masks=20_000, cells=3, p1=0.3)(of)[0]
    assert maps.shape == (2, 12, 12)
    assert maps[0, 10, 10].item() == pytest.approx(0.8 * 0.3 + 0.1, abs=0.01)
    # Both probabilities add up to 1: E[M(q)] / p1.
    torch.testing.assert_close(maps.sum(0), torch.ones(12, 12), rtol=0, atol=0.03)
    masks = RandomMasks.draw(20_000, 3, 0.3, 12, 12, torch.Generator().manual_seed(77))
    second = masks.of(slice(0, 20_000))
    expected = 0.8 * (second * second[:, 3:4, 4:5]).mean(0) / 0.3 + 0.1
    torch.testing.assert_close(maps[0], expected, rtol=0, atol=0.03)


def test_rise_equals_loops_over_masks() -> None:
    net, batch = curved_net(), images(3, *SIZE)
    of = record_of(net, batch)
    maps = with_options(rise, masks=37, cells=4, p1=0.4, seed=6)(of)
    for b, generator in enumerate(of.probe.noise(6)):
        masks = RandomMasks.draw(37, 4, 0.4, 10, 12, generator).of(slice(0, 37))
        total = torch.zeros(3, 10, 12)
        for mask in masks:
            with torch.no_grad():
                p = net((mask * batch[b])[None]).softmax(1)[0, of.classes[b]]
            total += p[:, None, None] * mask
        torch.testing.assert_close(maps[b], total / 37 / 0.4, rtol=1e-4, atol=1e-5)


def test_masks_equal_those_of_the_authors_code_except_at_the_border() -> None:
    transform = pytest.importorskip("skimage.transform")
    height, width, cells = 50, 33, 4  # cells of 13 x 9 pixels
    masks = RandomMasks.draw(30, cells, 0.5, height, width, torch.Generator().manual_seed(1))
    assert masks.grids.shape == (30, 4, 4)
    for n, mask in enumerate(masks.of(slice(0, 30))):
        grid = masks.grids[n].numpy().astype("float32")
        size = ((cells + 1) * 13, (cells + 1) * 9)
        large = transform.resize(grid, size, order=1, mode="edge", anti_aliasing=False)
        top, left = int(masks.tops[n]), int(masks.lefts[n])
        expected = large[top : top + height, left : left + width]
        np.testing.assert_allclose(mask.numpy(), expected, rtol=0, atol=1e-5)


def test_masks_show_each_pixel_with_the_same_probability() -> None:
    masks = RandomMasks.draw(4000, 5, 0.2, 23, 31, torch.Generator().manual_seed(0))
    drawn = masks.of(slice(0, 4000))
    assert drawn.shape == (4000, 23, 31)
    assert drawn.min() == 0
    assert 1 - 1e-6 < drawn.max() < 1 + 1e-6
    torch.testing.assert_close(drawn.mean(0), torch.full((23, 31), 0.2), rtol=0, atol=0.03)
    assert sorted(set(masks.tops.tolist())) == list(range(5))
    assert sorted(set(masks.lefts.tolist())) == list(range(7))
    assert torch.equal(masks.of(slice(7, 9)), drawn[7:9])


def test_a_mask_of_one_cell_hides_all_or_nothing() -> None:
    of = record_of(curved_net(), images(3, *SIZE))
    p = of.logits.softmax(1).gather(1, of.classes)
    blind = curved_net()(torch.zeros(1, 3, 10, 12)).softmax(1)[0].detach()[of.classes]
    maps = with_options(rise, masks=50, cells=1, p1=0.5)(of)
    share = maps / p[:, :, None, None] * 0.5
    assert (share.amax((1, 2, 3)) - share.amin((1, 2, 3))).max() < 1e-5
    assert (share * 50 - (share * 50).round()).abs().max() < 1e-3
    sure = with_options(rise, masks=3, cells=2, p1=1.0)(of)
    torch.testing.assert_close(sure, p[:, :, None, None].expand_as(sure))
    assert not torch.allclose(p, blind)
