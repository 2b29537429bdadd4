"""The same boxes in every format that annotations come in give the same numbers."""

import csv
import json
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml

from wsol_bench import run
from wsol_bench.datasets import datasets

N_IMAGES = 40


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Images of the embedded data set in one folder, with their boxes and classes."""
    root = tmp_path_factory.mktemp("same_boxes")
    shapes = datasets.get("shapes")(n_images=N_IMAGES)
    samples = list(shapes)
    (root / "images").mkdir()
    for sample in samples:
        (root / "images" / sample.path.name).symlink_to(sample.path)
    return root, samples, shapes.classes["wnid"].tolist()


def as_half_open_table(root, samples, classes):
    """The header of a stranger, and a semicolon, which the first line tells."""
    with (root / "boxes.csv").open("w", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["filename", "xmin", "ymin", "xmax", "ymax", "class"])
        for sample in samples:
            for box in sample.boxes.tolist():
                rows.writerow([sample.path.name, *box, sample.label])
    columns = {"image": "filename", "label": "class"}
    columns |= {"x0": "xmin", "y0": "ymin", "x1": "xmax", "y1": "ymax"}
    path, images = str(root / "boxes.csv"), str(root / "images")
    options = {"path": path, "images": images, "columns": columns}
    return {"name": "table", "convention": "half_open", **options}


def as_centers_without_header(root, samples, classes):
    """Shares of the image, center and size, found by position; tabs."""
    lines = []
    for sample in samples:
        for x0, y0, x1, y1 in sample.boxes.tolist():
            w, h = sample.width, sample.height
            shares = [(x0 + x1) / 2 / w, (y0 + y1) / 2 / h, (x1 - x0) / w, (y1 - y0) / h]
            lines.append("\t".join([sample.path.name, sample.label, *map(repr, shares)]))
    (root / "boxes.tsv").write_text("\n".join(lines))
    columns = {"image": 0, "label": 1, "cx": 2, "cy": 3, "w": 4, "h": 5}
    options = {"path": str(root / "boxes.tsv"), "images": str(root / "images"), "columns": columns}
    return {"name": "table", "convention": "normalized_cxcywh", **options}


def as_coco(root, samples, classes):
    """Category ids with gaps, and images that are not in the order of their ids."""
    content = {
        "images": [
            {"id": 1000 - i, "file_name": one.path.name, "width": one.width, "height": one.height}
            for i, one in enumerate(samples)
        ],
        "categories": [{"id": 7 * k + 3, "name": name} for k, name in enumerate(classes)],
        "annotations": [
            {
                "id": 100 * i + j,
                "image_id": 1000 - i,
                "category_id": 7 * classes.index(sample.label) + 3,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
            }
            for i, sample in enumerate(samples)
            for j, (x0, y0, x1, y1) in enumerate(sample.boxes.tolist())
        ],
    }
    (root / "instances.json").write_text(json.dumps(content))
    return {"name": "coco", "annotations": str(root / "instances.json")}


def as_yolo(root, samples, classes):
    """Six digits, as exporters write them."""
    (root / "labels").mkdir()
    (root / "data.yaml").write_text(yaml.safe_dump({"names": classes}))
    for sample in samples:
        lines = []
        for x0, y0, x1, y1 in sample.boxes.tolist():
            w, h = sample.width, sample.height
            shares = [(x0 + x1) / 2 / w, (y0 + y1) / 2 / h, (x1 - x0) / w, (y1 - y0) / h]
            number = classes.index(sample.label)
            lines.append(" ".join([str(number), *(f"{share:.6f}" for share in shares)]))
        (root / "labels" / f"{sample.path.stem}.txt").write_text("\n".join(lines) + "\n")
    return {"name": "yolo", "root": str(root)}


def as_voc(root, samples, classes):
    """Pascal VOC's corners, 1-based and inclusive."""
    (root / "xml").mkdir()
    for sample in samples:
        top = ElementTree.Element("annotation")
        ElementTree.SubElement(top, "filename").text = sample.path.name
        size = ElementTree.SubElement(top, "size")
        ElementTree.SubElement(size, "width").text = str(sample.width)
        ElementTree.SubElement(size, "height").text = str(sample.height)
        for x0, y0, x1, y1 in sample.boxes.astype(int).tolist():
            thing = ElementTree.SubElement(top, "object")
            ElementTree.SubElement(thing, "name").text = sample.label
            box = ElementTree.SubElement(thing, "bndbox")
            for tag, value in zip(
                ("xmin", "ymin", "xmax", "ymax"), (x0 + 1, y0 + 1, x1, y1), strict=True
            ):
                ElementTree.SubElement(box, tag).text = str(value)
        ElementTree.ElementTree(top).write(root / "xml" / f"{sample.path.stem}.xml")
    folders = {"images": str(root / "images"), "annotations": str(root / "xml")}
    return {"name": "voc", "root": str(root), **folders}


def numbers_of(dataset):
    results = run(
        {
            "name": "same_boxes",
            "dataset": dataset,
            "models": ["shapes_net"],
            "methods": ["grad_cam", "center_box"],
            "protocol": "gradcam-2017",
            "workers": 0,
        },
        device="cpu",
    )
    rows = results.rows.assign(image=results.rows["image_id"].str.extract("(shapes_val_[0-9]+)"))
    keys = ["method", "image", "rank"]
    rows = rows.sort_values(keys, ignore_index=True)[[*keys, "class", "iou", "x0", "y0", "x1"]]
    return results.summary.drop(columns=["seconds", "skipped"], errors="ignore"), rows


@pytest.fixture(scope="module")
def expected(world):
    names = {sample.path.stem for sample in world[1]}
    summary, rows = numbers_of({"name": "shapes", "n_images": N_IMAGES})
    assert set(rows["image"]) == names
    return summary, rows


@pytest.mark.parametrize(
    "written", [as_half_open_table, as_centers_without_header, as_coco, as_yolo, as_voc]
)
def test_the_numbers_are_those_of_the_embedded_data_set(world, expected, written):
    summary, rows = numbers_of(written(*world))
    same = [name for name in summary if name not in {"dataset"}]
    pd.testing.assert_frame_equal(summary[same], expected[0][same], rtol=1e-9)
    pd.testing.assert_frame_equal(rows, expected[1], rtol=0, atol=1e-6)
    assert np.isfinite(rows.loc[rows["rank"] == 1, "iou"]).all()
