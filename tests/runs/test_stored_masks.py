"""A run on COCO's masks, or on numbered masks, is scored again without the JSON file and cache."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import wsol_bench
from wsol_bench.runs.rescore import rescore

WIDTH, HEIGHT = 60, 40
BOXES = [(5, 5, 30, 30), (20, 10, 60, 40), (0, 0, 11, 13)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(root: Path) -> None:
    """The same rectangles as COCO's polygons and as VOC's SegmentationClass."""
    images, annotations = [], []
    for place in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Segmentation"):
        (root / place).mkdir(parents=True)
    for number, (x0, y0, x1, y1) in enumerate(BOXES):
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / f"JPEGImages/{number}.jpg")
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[y0:y1, x0:x1] = 12
        Image.fromarray(mask).save(root / f"SegmentationClass/{number}.png")
        file = {"id": number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT}
        images.append(file)
        box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
        outline = {"segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]}
        annotations.append({"id": number, "image_id": number, "category_id": 3, **box, **outline})
    names = "".join(f"{number}\n" for number in range(len(BOXES)))
    (root / "ImageSets/Segmentation/val.txt").write_text(names)
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": 3, "name": "dog"}]
    (root / "instances.json").write_text(json.dumps(content))


def test_runs_hold_their_masks(tmp_path: Path, cache: Path) -> None:
    write(tmp_path / "data")
    root = tmp_path / "data"
    datasets = {
        "coco": {"annotations": str(root / "instances.json"), "images": str(root / "JPEGImages")},
        "voc": {"root": str(root)},
    }
    runs = {}
    for name, options in datasets.items():
        experiment = {
            "name": name,
            "dataset": {"name": name, "masks": True, **options},
            "models": [],
            "methods": ["center_gaussian"],
            "protocol": "choe-2020-pxap",
        }
        runs[name] = wsol_bench.run(experiment, out=tmp_path / name)
    expected = runs["coco"].folder.read("curves")["foreground"].tolist()
    assert runs["voc"].folder.read("curves")["foreground"].tolist() == expected
    (root / "instances.json").unlink()
    shutil.rmtree(cache)
    for name in datasets:
        again = rescore(runs[name].folder, out=tmp_path / f"{name} again")
        assert again.folder.read("curves")["foreground"].tolist() == expected
