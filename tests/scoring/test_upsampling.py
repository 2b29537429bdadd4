"""Upsampling is that of scikit-image at pixel centers, and torch's in every mode."""

import resource
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
import torch
from skimage.transform import resize

from wsol_bench.protocols.load import load_protocol
from wsol_bench.scoring.upsampling import taps, upsample

GRADCAM = load_protocol("gradcam-2017")


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


@pytest.mark.parametrize("shape", [(60_000, 2), (2, 60_000), (60_000, 1)])
@pytest.mark.parametrize(
    ("mode", "align_corners"),
    [("bilinear", False), ("bilinear", True), ("bicubic", False), ("nearest", False)],
)
def test_a_long_thin_map_takes_memory_by_its_size_and_not_by_its_square(shape, mode, align_corners):
    maps = np.random.default_rng(0).standard_normal((1, *shape), np.float32)
    rule = load_protocol("gradcam-2017", {"map": {"upsample": mode, "rectify": "never"}}).map
    rule = rule.model_copy(update={"align_corners": align_corners})
    aligned = None if mode == "nearest" else align_corners
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[:, None], size=(224, 224), mode=mode, align_corners=aligned
    )[:, 0].numpy()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours = upsample(maps, (224, 224), rule)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # in KiB on Linux
    assert grown < 400 * 1024  # a square of 60,000 numbers is 14 GB
    assert np.abs(ours - theirs).max() <= 2e-6 * np.abs(maps).max()


@pytest.mark.parametrize("before", [1, 2, 3, 5, 9, 14, 57, 224, 301])
def test_in_every_mode_a_sample_is_made_of_the_samples_that_torch_takes(before):
    maps = np.random.default_rng(0).standard_normal((1, before, 2), np.float32)
    for (mode, aligned), after in product(
        [*product(("bilinear", "bicubic"), (False, True)), ("nearest", False)],
        [1, 2, 7, 13, 64, 225, 299],
    ):
        rule = load_protocol("gradcam-2017", {"map": {"upsample": mode, "rectify": "never"}}).map
        rule = rule.model_copy(update={"align_corners": aligned})
        theirs = torch.nn.functional.interpolate(
            torch.from_numpy(maps)[:, None],
            size=(after, 2),
            mode=mode,
            align_corners=None if mode == "nearest" else aligned,
        )[:, 0].numpy()
        assert np.abs(upsample(maps, (after, 2), rule) - theirs).max() <= 4e-6


# torch fuses multiplications and additions on processors that can, and elsewhere other ones.
SAME_STEPS = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="torch rounds other steps on this processor",
)


@SAME_STEPS
@pytest.mark.parametrize(
    ("mode", "aligned"), [("nearest", False), *product(("bilinear", "bicubic"), (False, True))]
)
def test_weights_are_torchs_results_on_unit_vectors_to_the_last_bit(mode, aligned):
    rule = GRADCAM.map.model_copy(update={"upsample": mode, "align_corners": aligned})
    for before, after in product(
        (*range(1, 20), 28, 56, 112, 224, 300), (1, 2, 160, 224, 299, 331)
    ):
        # More than 128 columns: torch interpolates smaller images by steps of other rounding.
        units = torch.eye(before, max(before, 128))
        theirs = torch.nn.functional.interpolate(
            units[None, None],
            size=(after, units.shape[1]),
            mode=mode,
            align_corners=None if mode == "nearest" else aligned,
        )[0, 0, :, :before].numpy()
        ours = np.zeros((after, before), np.float32)
        sample, weight = taps(before, after, rule)
        for tap in range(sample.shape[1]):
            ours[np.arange(after), sample[:, tap]] += weight[:, tap]
        assert np.array_equal(ours, theirs), (before, after)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
def test_a_sample_has_one_weight(mode):
    """Two weights of one sample would be rounded one after the other when a map is upsampled."""
    rule = GRADCAM.map.model_copy(update={"upsample": mode})
    for before, after in product((1, 2, 3, 7), (1, 5, 224)):
        for samples, weights in zip(*taps(before, after, rule), strict=True):
            used = samples[weights != 0].tolist()
            assert len(used) == len(set(used)) > 0


def test_upsampling_needs_no_torch():
    code = (
        "import sys, numpy as np\n"
        "from wsol_bench.protocols.load import load_protocol\n"
        "from wsol_bench.scoring.upsampling import upsample\n"
        "for mode in ('bilinear', 'bicubic', 'nearest'):\n"
        "    rule = load_protocol('gradcam-2017', {'map': {'upsample': mode}}).map\n"
        "    upsample(np.ones((1, 7, 7), np.float32), (224, 224), rule)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
