import numpy as np
import pytest
import torch
from skimage.transform import resize

from wsol_bench.boxes.rule import boxes_of_maps, upsample
from wsol_bench.protocols import load_protocol

GRADCAM = load_protocol("gradcam-2017")


def rules(**changes):
    protocol = load_protocol("gradcam-2017", changes)
    return protocol.map, protocol.box


def box(values, *, size=(224, 224), **changes):
    maps = np.array(values, np.float32)[None]
    return boxes_of_maps(maps, size, *rules(**changes))[0].tolist()


def test_bilinear_upsampling_is_scikit_image_at_pixel_centers():
    maps = np.random.default_rng(0).random((1, 7, 7), np.float32)
    ours = upsample(maps, (224, 200), GRADCAM.map)[0]
    # order=1 on pixel centers; beyond the outermost centers both repeat the edge.
    reference = resize(maps[0], (224, 200), order=1, mode="edge", anti_aliasing=False)
    assert np.abs(ours - reference).max() < 1e-5


@pytest.mark.parametrize(
    ("mode", "align_corners"),
    [(mode, aligned) for mode in ("bilinear", "bicubic") for aligned in (False, True)],
)
@pytest.mark.parametrize("size", [(224, 200), (5, 3), (14, 7)])
def test_upsampling_is_torchs_to_the_rounding_of_float32(mode, align_corners, size):
    maps = np.random.default_rng(0).standard_normal((40, 14, 7), np.float32)
    rule = load_protocol("gradcam-2017", {"map": {"upsample": mode, "rectify": "never"}}).map
    rule = rule.model_copy(update={"align_corners": align_corners})
    aligned = None if mode == "nearest" else align_corners
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[:, None], size=size, mode=mode, align_corners=aligned
    )[:, 0].numpy()
    assert np.abs(upsample(maps, size, rule) - theirs).max() <= 2e-6 * np.abs(maps).max()


def test_one_hot_cell_of_a_two_by_two_map():
    # Along an axis of 8 pixels the weight of the hot cell is 1, 1, .875, .625, .375, .125, 0, 0
    # (centers at 2 and 6 of 8); the product of two weights reaches 0.15 up to .375 * .625 and not
    # at .375 * .375 = .14: rows and columns 0..5 (.125 * 1 is below), so columns 0..4.
    assert box([[1.0, 0.0], [0.0, 0.0]], size=(8, 8)) == [0, 0, 5, 5]


def test_negative_values_matter_only_where_the_protocol_rectifies_late():
    values = [[1.0, -1.0], [-1.0, -1.0]]
    before = box(values, size=(8, 8))
    after = box(values, size=(8, 8), map={"rectify": "after_upsampling"})
    never = box(values, size=(8, 8), map={"rectify": "never"})
    assert before == [0, 0, 5, 5]
    assert after == never == [0, 0, 4, 4]


def test_the_range_of_an_unrectified_map_is_another_protocol():
    # By the range the level is -0.2 + 0.15 * 1.2 = -0.02. In the first column w * 1 - (1 - w) * 0.2
    # reaches it for w >= 0.15 (rows 0..4), in the last -(1 - w) * 0.2 for w >= 0.9 (rows 0 and 1).
    values = [[1.0, 0.0], [-0.2, -0.2]]
    assert box(values, size=(8, 8)) == [0, 0, 5, 5]
    signed = {"map": {"rectify": "never"}, "box": {"of": "range"}}
    assert box(values, size=(8, 8), **signed) == [0, 0, 8, 5]


def test_extrema_of_the_low_resolution_map_can_set_the_level():
    # A single hot cell loses height by aligned-off upsampling: 1 becomes 0.875 ** 2 at most here.
    values = np.zeros((3, 3))
    values[1, 1] = 1
    high = {"threshold": 0.95}
    assert box(values, size=(6, 6), box=high) == [2, 2, 4, 4]
    lost = box(values, size=(6, 6), box={**high, "measured_on": "low_resolution"})
    assert np.isnan(lost).all()


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
def test_every_interpolation_gives_the_whole_image_for_a_constant_map(mode):
    assert box(np.full((7, 7), 2.0), map={"upsample": mode}) == [0, 0, 224, 224]


def test_a_map_without_a_box_is_a_row_of_nan_and_leaves_the_others():
    maps = np.stack([np.zeros((7, 7)), np.ones((7, 7)), np.full((7, 7), np.nan)]).astype(np.float32)
    found = boxes_of_maps(maps, (224, 224), GRADCAM.map, GRADCAM.box)
    assert np.isnan(found).all(axis=1).tolist() == [True, False, True]


def test_no_maps_are_no_boxes():
    assert boxes_of_maps(
        np.zeros((0, 7, 7), np.float32), (224, 224), GRADCAM.map, GRADCAM.box
    ).shape == (0, 4)
