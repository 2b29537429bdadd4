"""The command that looks at an experiment before it is run."""

import yaml
from colors import color_experiment, write_colors
from command_line import cli


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
