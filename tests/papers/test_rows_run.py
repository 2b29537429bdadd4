"""Every network of every table runs with random weights, on a small tree in the real layout."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsol_bench.errors import ModelError
from wsol_bench.models import published_weights
from wsol_bench.papers.shelf import table_names
from wsol_bench.report.reproduction import not_run, reproduction_table
from wsol_bench.report.written_tables import text_table
from wsol_bench.runs.identity import NO_MODEL
from wsol_bench.runs.reproduction import load_table, reproduce

# A side at which networks are fast; some networks take the side of their paper alone.
SIDE, OWN_SIDE = 96, 224
OF_ONE_SIDE = {"ts_cam/deit_small", "zhou_2016/vgg16", "zhou_2016/alexnet"}
N_IMAGES = 2


def networks():
    """A table and a model of it for each network, and for each table without a new network."""
    seen = set()
    for table in table_names():
        models = load(table).models
        new = [model for model in models if model.name not in seen]
        for model in new or models[:1]:
            if model.name not in seen or not new:
                yield pytest.param(table, model.shown_name, id=f"{table}: {model.name}")
            seen.add(model.name)


def load(table, data=None, weights=Path("weights"), **options):
    return load_table(table, data=data, weights=weights, **options)


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (120, 160, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_ilsvrc(root):
    """Kaggle's layout, with a thousand classes."""
    inner = root / "ILSVRC"
    lines = []
    for number in range(1, N_IMAGES + 1):
        name = f"ILSVRC2012_val_{number:08d}"
        picture(inner / f"Data/CLS-LOC/val/{name}.JPEG", number)
        lines.append(f"{name},n{number:08d} 20 20 99 99 ")
    (root / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *lines]))
    words = [f"n{number:08d} class {number}" for number in range(1000)]
    (root / "LOC_synset_mapping.txt").write_text("\n".join(words) + "\n")


def write_cub(root):
    """CUB-200-2011 as it is unpacked, with two hundred classes."""
    inner = root / "CUB_200_2011"
    names = [f"{number:03d}.Bird_{number}" for number in range(1, 201)]
    lists = {"classes": [f"{number} {name}" for number, name in enumerate(names, 1)]}
    images = [f"{names[number]}/Bird_{number}.jpg" for number in range(N_IMAGES)]
    for number, image in enumerate(images, 1):
        picture(inner / "images" / image, number)
        for name, value in (
            ("images", image), ("image_class_labels", number), ("train_test_split", 0),
            ("bounding_boxes", "20.0 20.0 80.0 80.0"),
        ):  # fmt: skip
            lists.setdefault(name, []).append(f"{number} {value}")
    for name, lines in lists.items():
        (inner / f"{name}.txt").write_text("\n".join(lines) + "\n")


def write_openimages(root):
    """A checkout of wsolevaluation with OpenImages30k; the last of the hundred classes is there."""
    metadata = root / "metadata/OpenImages/test"
    metadata.mkdir(parents=True)
    lists = {"image_ids": [], "class_labels": [], "localization": [], "image_sizes": []}
    for number, label in enumerate((0, 99)[:N_IMAGES]):
        image = f"test/c{label}/{number}.jpg"
        mask = f"test/c{label}/{number}_m.png"
        picture(root / "dataset/OpenImages" / image, number)
        values = np.zeros((120, 160), np.uint8)
        values[20:100, 20:100] = 255
        Image.fromarray(values).save(root / "dataset/OpenImages" / mask)
        lists["image_ids"].append(image)
        lists["class_labels"].append(f"{image},{label}")
        lists["localization"].append(f"{image},{mask},")
        lists["image_sizes"].append(f"{image},160,120")
    for name, lines in lists.items():
        (metadata / f"{name}.txt").write_text("\n".join(lines) + "\n")


WRITERS = {"imagenet": write_ilsvrc, "cub": write_cub, "openimages": write_openimages}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """The root of each data set, by the name of its loader."""
    roots = {}
    for name, write in WRITERS.items():
        roots[name] = tmp_path_factory.mktemp(name)
        write(roots[name])
    return roots


@pytest.mark.slow
@pytest.mark.parametrize("table, model", list(networks()))
def test_every_network_gives_every_row_that_it_has(table, model, trees, tmp_path):
    whole = load(table)
    [name] = [one.name for one in whole.models if one.shown_name == model]
    side = OWN_SIDE if name in OF_ONE_SIDE else SIDE
    config = load(
        table,
        data=trees[whole.dataset.name],
        overrides=[f"protocol.input.size={side}", "workers=0", "device=cpu", "batch_size=2"],
    )
    [chosen] = [one for one in config.models if one.shown_name == model]
    chosen = chosen.model_copy(update={"weights": "random"})
    done = reproduce(
        config.model_copy(update={"models": [chosen]}), tmp_path / "out", weights=tmp_path
    )
    assert not done.missing
    shown = text_table(reproduction_table(done))
    rows = [row for row in whole.published.rows if row.model in (model, NO_MODEL) and not row.needs]
    if not rows:  # the numbers are those of other images
        assert {*shown["paper"]} == {"-"}
        return
    assert len(shown) == sum(len(row.numbers) for row in rows)
    assert "none" not in shown["here [95% interval]"].tolist()


@pytest.mark.parametrize("table", table_names())
def test_what_is_missing_is_said_for_every_row(table, trees, tmp_path, monkeypatch):
    def refuse(name, weights, folder):
        raise ModelError(f"{name}: torchvision's weights could not be downloaded")

    monkeypatch.setattr(published_weights, "obtain", refuse)
    config = load(table, data=trees[load(table).dataset.name], weights=tmp_path)
    config = config.model_copy(update={"workers": 0})
    done = reproduce(config, tmp_path / "out", weights=tmp_path)
    texts = "\n".join(not_run(done))
    for model in config.models:
        assert model.shown_name in texts
        if where := config.published.weights_of(model.shown_name):
            assert where.rstrip(".") in texts
            assert model.weights in texts
    for row in config.published.rows:
        assert not row.needs or row.needs.rstrip(".") in texts
