"""The command that looks at an experiment before it is run."""

import json

import torch
import yaml
from colors import color_experiment, write_colors
from command_line import cli
from PIL import Image

from wsol_bench.models.classifiers import load_classifier


def test_it_counts_images_and_checks_the_order_of_the_classes(world, tmp_path):
    out, _ = cli("doctor", world / "experiment.yaml")
    assert "4 images of 3 classes" in out
    assert "100% right at top-1" in out
    assert "plausible" in out
    (tmp_path / "classes.txt").write_text("n00000002\nn00000003\nn00000001\n")
    wrong = ("--set", f"models.0.classes={tmp_path / 'classes.txt'}")
    said = cli("doctor", world / "experiment.yaml", *wrong)[0]
    assert "SUSPICIOUS" in said
    assert "The model's 'classes:' names another" in " ".join(said.split())


def test_it_says_what_is_odd_and_what_a_run_would_skip(tmp_path):
    root = write_colors(tmp_path / "root")
    data = root / "ILSVRC/Data/CLS-LOC/val"
    (data / "ILSVRC2012_val_00000002.JPEG").write_bytes(b"no image")
    annotation = root / "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000003.xml"
    annotation.write_text(annotation.read_text()[:90])
    (tmp_path / "classes.txt").write_text("n00000001\nn9\nn8\n")
    experiment = color_experiment(root)
    experiment["models"][0]["classes"] = str(tmp_path / "classes.txt")
    experiment["models"].append({"name": "resnet50", "weights": "IMAGENET1K_V9"})
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(experiment))
    out, err = cli("doctor", tmp_path / "e.yaml", code=1)
    assert "1 of 2 models cannot be loaded" in err
    assert "1 x unreadable_image" in out
    assert "1 x bad_annotation" in out
    assert "ILSVRC2012_val_00000003" in out
    assert "CANNOT BE LOADED" in out
    assert "did you mean 'IMAGENET1K_V2'" in out


def test_it_says_which_weights_of_a_file_are_loaded(tmp_path):
    path = tmp_path / "weights.pth"
    state = load_classifier("shapes_net").module.state_dict()
    averaged = {f"module.{name}": value + 1 for name, value in state.items()}
    torch.save({"model": state, "model_ema": averaged}, path)
    experiment = {
        "name": "e",
        "dataset": "shapes",
        "models": [{"name": "shapes_net", "weights": str(path), "arguments": {"num_classes": 16}}],
        "methods": ["cam"],
        "protocol": "gradcam-2017",
        "limit": 1,
    }
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(experiment))
    out = " ".join(cli("doctor", tmp_path / "e.yaml")[0].split())
    assert f"weights: 'model' in {path} (which also holds 'model_ema': 'key:' chooses)" in out
    out = " ".join(cli("doctor", tmp_path / "e.yaml", "--set", "models.0.key=model_ema")[0].split())
    assert f"weights: 'model_ema' in {path} (which also holds 'model': 'key:' chooses);" in out
    assert "all keys without their beginning 'module.'" in out


def numbered_experiment(root, **model):
    """A data set of twelve class folders 0 to 11, one image each."""
    rows = ["image,label,x0,y0,x1,y1\n"]
    for number in range(12):
        (root / str(number)).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (224, 224), "red").save(root / f"{number}/a.png")
        rows.append(f"{number}/a.png,{number},0,0,100,100\n")
    (root / "boxes.csv").write_text("".join(rows))
    (root / "names.txt").write_text("".join(f"{number} word {number}\n" for number in range(12)))
    experiment = {
        "name": "numbered",
        "dataset": {
            "name": "table",
            "path": str(root / "boxes.csv"),
            "images": str(root),
            "classes": str(root / "names.txt"),
            "convention": "half_open",
        },
        "methods": ["cam" if model else "center_box"],
        "protocol": "gradcam-2017",
    }
    if model:
        network = {"name": "colors:color_net", "arguments": {"num_classes": 12}, "layer": "cells"}
        experiment["models"] = [{**network, **model}]
    (root / "e.yaml").write_text(yaml.safe_dump(experiment))
    return root / "e.yaml"


def test_it_refuses_to_guess_the_order_of_numbered_classes(tmp_path):
    out, _ = cli("doctor", numbered_experiment(tmp_path, label="net"), code=1)
    assert "class order (sorted as text): 0 0 (word 0), 5 3 (word 3), 11 9 (word 9)" in out
    assert "ODD: by their numbers the classes have another order" in out
    assert "Model net: CANNOT BE LOADED: the order of the network's outputs is not known" in out


def test_it_says_which_order_it_took_and_shows_three_outputs(tmp_path):
    order = tmp_path / "order.txt"
    order.write_text("".join(f"{number}\n" for number in range(12)))
    out = " ".join(cli("doctor", numbered_experiment(tmp_path, classes=str(order)))[0].split())
    assert f"12 classes, order from {order}" in out
    assert "outputs: 0 0 (word 0), 5 5 (word 5), 11 11 (word 11)" in out


def test_without_a_network_the_order_of_numbered_classes_does_not_matter(tmp_path):
    experiment = numbered_experiment(tmp_path)
    assert "ODD: by their numbers" in cli("doctor", experiment)[0]
    table, _ = cli("run", experiment, "--out", tmp_path / "run", "--json")
    assert json.loads(table)[0]["n_images"] == 12


def test_a_builder_whose_weights_are_not_named_is_said_to_bring_them(world):
    own = ("--set", "models.0={name: colors:color_net, layer: cells}")
    out, _ = cli("doctor", world / "experiment.yaml", *own)
    assert "weights: as the builder returns them, since no 'weights:' are named" in out


def test_an_image_of_several_classes_is_said_to_count_for_each(tmp_path):
    rows = ["a.png,cat,1,2,9,9", "a.png,dog,2,2,8,8", "b.png,cat,1,1,5,5"]
    (tmp_path / "boxes.csv").write_text("\n".join(["image,label,x0,y0,x1,y1", *rows]))
    for name in ("a.png", "b.png"):
        Image.new("RGB", (12, 10)).save(tmp_path / name)
    dataset = f"{{name: table, path: {tmp_path / 'boxes.csv'}, convention: half_open}}"
    options = f"dataset: {dataset}\nmethods: [center_box]\nprotocol: gradcam-2017\n"
    (tmp_path / "e.yaml").write_text(f"name: e\n{options}")
    out, _ = cli("doctor", tmp_path / "e.yaml", "--set", f"dataset.images={tmp_path}")
    assert "3 images of 2 classes" in out
    assert "image files of several classes: 1; each counts as an image for each class" in out
