"""An image so long and thin that its input would fill the memory is refused, and counted."""

import os

import numpy as np
import pytest
from annotations_only import IMAGES, without_model, write_annotations_only
from PIL import Image

import wsol_bench
from wsol_bench.errors import ConfigError, ImageError
from wsol_bench.images.loading import _Decoder
from wsol_bench.protocols.load import load_protocol
from wsol_bench.protocols.model import AnyProtocol

CROP = {"size": 224, "geometry": "center_crop", "resize_to": 256}
WHOLE = {"geometry": "shorter_side"}


def protocol(section) -> AnyProtocol:
    return load_protocol("gradcam-2017", {"input": section})


@pytest.mark.parametrize("section", [CROP, WHOLE], ids=["center_crop", "shorter_side"])
@pytest.mark.parametrize("size", [(60_000, 2), (2, 60_000), (1, 10**6)])
def test_a_thin_image_has_no_place_where_its_shape_is_kept(section, size):
    with pytest.raises(
        ImageError, match=r"expected an image of at most \d+ pixels a side after resizing, found"
    ):
        protocol(section).input.place(*size)


@pytest.mark.parametrize("section", [CROP, WHOLE], ids=["center_crop", "shorter_side"])
def test_an_image_of_one_to_sixteen_has_a_place(section):
    assert max(protocol(section).input.place(160, 10).resized) >= 3584


def test_a_squashed_input_takes_every_shape():
    assert protocol({}).input.place(60_000, 2).input == (224, 224)


@pytest.mark.parametrize("section", [CROP, WHOLE], ids=["center_crop", "shorter_side"])
def test_a_thin_image_is_unreadable_and_the_others_are_evaluated(tmp_path, section):
    images = [*IMAGES, ((2, 60_000), 0, [(0, 0, 60_000, 2)])]
    root = write_annotations_only(tmp_path / "root", images=images)
    (tmp_path / "maps").mkdir()
    for number in range(1, len(images) + 1):
        np.save(tmp_path / f"maps/ILSVRC2012_val_{number:08d}.npy", np.eye(7))
    method = {"name": "maps_from", "path": str(tmp_path / "maps")}
    content = without_model(
        root, method, protocol={"name": "gradcam-2017", "input": section}, max_failed=0.5
    )
    results = wsol_bench.run(content)
    lines = results.folder.read("images").set_index("image_id")
    assert (lines["status"] == "evaluated").sum() == len(IMAGES)
    assert lines["status"].iloc[-1] == "unreadable"
    assert lines["reason"].iloc[-1].startswith("expected an image of at most ")


@pytest.mark.parametrize("section", [CROP, WHOLE], ids=["center_crop", "shorter_side"])
def test_a_thin_image_is_not_resized_for_a_network(tmp_path, section):
    Image.new("RGB", (60_000, 2)).save(tmp_path / "a.png")
    batch = _Decoder([str(tmp_path / "a.png")], protocol(section).input, 3)([0])
    assert batch.groups == []
    [(index, reason)] = batch.unreadable
    assert index == 0
    assert reason.startswith(f"{tmp_path / 'a.png'}: expected an image of at most ")


@pytest.mark.parametrize("key", ["size", "resize_to"])
def test_an_input_that_no_memory_holds_is_refused(key):
    with pytest.raises(ConfigError, match=rf"'input\.{key}': expected at most 4096"):
        protocol({**CROP, "size": 224, key: 60_000})


def test_a_pipe_in_the_place_of_a_list_of_images_is_refused(tmp_path):
    os.mkfifo(tmp_path / "ids.txt")
    changes = {"box": {"threshold": {"step": 0.1, "select_on": str(tmp_path / "ids.txt")}}}
    swept = load_protocol("choe-2020-v1", changes)
    with pytest.raises(ConfigError, match=r"select_on: .* expected a regular file, found a pipe"):
        swept.box.threshold.holds_out(["a"])
