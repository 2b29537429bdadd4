"""The embedded data set: its layout, its boxes, and what an image depends on."""

from pathlib import Path

import numpy as np
import pytest
from defusedxml.ElementTree import parse
from PIL import Image

from wsol_bench.datasets.shapes.loader import draw_sample, write_shapes
from wsol_bench.datasets.shapes.scene import (
    CLASSES,
    Scene,
    compose,
    draw_image,
    render,
)

WNIDS = [wnid for wnid, _ in CLASSES]


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(root, n_images=6)
    return root


def test_classes_are_named_by_texture_and_outline_and_counted_from_n90000000() -> None:
    assert [f"n{90000000 + i}" for i in range(16)] == WNIDS
    assert len({words for _, words in CLASSES}) == 16


def test_the_folder_is_that_of_ilsvrc_cls_loc(written: Path) -> None:
    ids = [f"shapes_val_{i:08d}" for i in range(1, 7)]
    assert set(files(written)) == {
        "LOC_synset_mapping.txt",
        "LOC_val_solution.csv",
        "ILSVRC/ImageSets/CLS-LOC/val.txt",
        *(f"ILSVRC/Data/CLS-LOC/val/{i}.JPEG" for i in ids),
        *(f"ILSVRC/Annotations/CLS-LOC/val/{i}.xml" for i in ids),
    }
    lines = (written / "ILSVRC/ImageSets/CLS-LOC/val.txt").read_text().splitlines()
    assert lines == [f"{image_id} {i}" for i, image_id in enumerate(ids, 1)]
    mapping = (written / "LOC_synset_mapping.txt").read_text().splitlines()
    assert mapping[0] == "n90000000 striped star"
    assert len(mapping) == 16


def test_solution_annotation_and_image_agree(written: Path) -> None:
    header, *rows = (written / "LOC_val_solution.csv").read_text().splitlines()
    assert header == "ImageId,PredictionString"
    for i, row in enumerate(rows):
        image_id, prediction = row.split(",")
        label, drawing = draw_sample(0, "val", i)
        fields = np.array(prediction.split()).reshape(-1, 5)
        assert set(fields[:, 0]) == {WNIDS[label]}
        np.testing.assert_array_equal(fields[:, 1:].astype(int), drawing.boxes)

        tree = parse(written / f"ILSVRC/Annotations/CLS-LOC/val/{image_id}.xml")
        boxes = [
            [
                int(element.findtext(f"bndbox/{corner}"))
                for corner in ("xmin", "ymin", "xmax", "ymax")
            ]
            for element in tree.findall("object")
        ]
        np.testing.assert_array_equal(boxes, drawing.boxes)
        assert {element.findtext("name") for element in tree.findall("object")} == {WNIDS[label]}

        with Image.open(written / f"ILSVRC/Data/CLS-LOC/val/{image_id}.JPEG") as image:
            size = tree.findtext("size/height"), tree.findtext("size/width")
            assert (image.height, image.width) == tuple(map(int, size)) == drawing.image.shape[:2]
            # JPEG at quality 95 is near, not equal.
            error = np.abs(np.asarray(image, float) - drawing.image).mean()
            assert error < 6


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "shapes"
    root.mkdir()
    write_shapes(root, n_images=1)
    assert files(root) == {}


def test_an_interrupted_writing_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shapes(tmp_path / "shapes", n_images=2, advance=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_image_depends_on_seed_split_and_index_alone(written: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    write_shapes(tmp_path / "shapes", n_images=3, advance=seen.append)
    assert seen == [1, 1, 1]
    longer, shorter = files(written), files(tmp_path / "shapes")
    for name in shorter.keys() - {"LOC_val_solution.csv", "ILSVRC/ImageSets/CLS-LOC/val.txt"}:
        assert shorter[name] == longer[name], name
    image = draw_sample(0, "val", 2)[1].image
    for other in ((1, "val", 2), (0, "train", 2), (0, "val", 3)):
        assert not np.array_equal(draw_sample(*other)[1].image, image)


def test_at_least_half_of_each_instance_is_in_sight() -> None:
    for seed in range(20):
        scene = compose(np.random.default_rng(seed), seed % 16, 240, 300)
        drawing = draw_image(np.random.default_rng(seed), seed % 16, 240, 300)
        whole = [(layer.alpha >= 0.5).sum() for layer in scene.layers if layer.role == "instance"]
        assert (drawing.masks.sum((1, 2)) >= 0.5 * np.array(whole)).all()


def test_sixteen_images_in_a_row_hold_each_class_once() -> None:
    assert sorted(draw_sample(0, "val", 16 + i)[0] for i in range(16)) == list(range(16))


@pytest.mark.parametrize("label", range(16))
def test_boxes_are_tight_around_the_visible_pixels(label: int) -> None:
    for seed in range(4):
        drawing = draw_image(np.random.default_rng(seed), label, 200, 260)
        assert drawing.image.shape == (200, 260, 3)
        assert drawing.image.dtype == np.uint8
        assert 1 <= len(drawing.boxes) <= 4
        assert len(drawing.masks) == len(drawing.boxes)
        assert drawing.masks.sum(0).max() == 1  # a pixel shows one thing
        for mask, box in zip(drawing.masks, drawing.boxes, strict=True):
            y, x = np.nonzero(mask)
            assert [x.min(), y.min(), x.max(), y.max()] == box.tolist()


@pytest.mark.parametrize("seed", range(12))
def test_painting_an_instance_changes_the_pixels_inside_its_box(seed: int) -> None:
    """Boxes come from coverage; this sees only painted pixels, with each instance and without."""
    label = seed % 16
    drawing = draw_image(np.random.default_rng(seed), label, 300, 240)
    scene = compose(np.random.default_rng(seed), label, 300, 240)
    np.testing.assert_array_equal(render(scene), drawing.image)
    instances = [i for i, layer in enumerate(scene.layers) if layer.role == "instance"]
    assert len(instances) == len(drawing.boxes)
    for i, box in zip(instances, drawing.boxes, strict=True):
        # A loud color, as an instance may look like what lies below it.
        layers = list(scene.layers)
        painted = []
        for loud in (0.0, 1.0):
            layers[i] = layers[i]._replace(color=np.full_like(layers[i].color, loud))
            painted.append(render(Scene(scene.background, tuple(layers), 0 * scene.grain)))
        y, x = np.nonzero(painted[1][..., 0].astype(int) - painted[0][..., 0] >= 128)
        assert [x.min(), y.min(), x.max(), y.max()] == box.tolist()


def test_instances_are_visible_and_of_many_sizes() -> None:
    extents, counts = [], set()
    for i in range(60):
        _, drawing = draw_sample(0, "val", i)
        height, width, _ = drawing.image.shape
        assert 180 <= min(height, width) <= max(height, width) <= 420
        counts.add(len(drawing.boxes))
        sizes = drawing.boxes[:, 2:] - drawing.boxes[:, :2] + 1
        extents.extend(sizes.max(1) / np.sqrt(height * width))
        assert drawing.masks.sum((1, 2)).min() > 40
    assert counts == {1, 2, 3, 4}
    assert min(extents) < 0.15
    assert max(extents) > 0.7
