"""The command that looks at an experiment before it is run."""

import torch
import yaml
from colors import color_experiment, write_colors
from command_line import cli

from wsol_bench.models.classifiers import load_classifier


def test_it_counts_images_and_checks_the_order_of_the_classes(world, tmp_path):
    out, _ = cli("doctor", world / "experiment.yaml")
    assert "4 images of 3 classes" in out
    assert "100% right at top-1" in out
    assert "plausible" in out
    (tmp_path / "classes.txt").write_text("n00000002\nn00000003\nn00000001\n")
    wrong = ("--set", f"models.0.classes={tmp_path / 'classes.txt'}")
    assert "SUSPICIOUS" in cli("doctor", world / "experiment.yaml", *wrong)[0]


def test_it_says_what_is_odd_and_what_a_run_would_skip(tmp_path):
    root = write_colors(tmp_path / "root")
    data = root / "ILSVRC/Data/CLS-LOC/val"
    (data / "ILSVRC2012_val_00000002.JPEG").write_bytes(b"no image")
    annotation = root / "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000003.xml"
    annotation.write_text(annotation.read_text()[:90])
    (tmp_path / "classes.txt").write_text("n00000001\nn9\nn8\n")
    experiment = color_experiment(root)
    experiment["models"][0]["classes"] = str(tmp_path / "classes.txt")
    experiment["models"].append("resnet5")
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(experiment))
    out, err = cli("doctor", tmp_path / "e.yaml", code=1)
    assert "1 of 2 models cannot be loaded" in err
    assert "1 x unreadable_image" in out
    assert "1 x bad_annotation" in out
    assert "ILSVRC2012_val_00000003" in out
    assert "CANNOT BE LOADED" in out
    assert "did you mean 'resnet50'" in out


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
