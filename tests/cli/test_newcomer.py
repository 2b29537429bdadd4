"""A two-class network and data set of one's own: each mistake is told in the user's own words."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from colors import write_colors
from command_line import cli
from newcomers_net import catdog
from PIL import Image

import wsol_bench

TABLE = {"name": "table", "convention": "half_open", "images": "."}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder of four photographs of cats and dogs, a table of boxes and a trained network."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.save(catdog().state_dict(), "catdog.pth")
    torch.save(catdog(1000).state_dict(), "other_head.pth")
    (tmp_path / "photos").mkdir()
    lines = {"names.csv": [], "numbers.csv": []}
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 80, 3), np.uint8)
        Image.fromarray(pixels).save(f"photos/{number}.png")
        lines["names.csv"].append(f"photos/{number}.png,{['cat', 'dog'][number % 2]},8,8,40,40")
        lines["numbers.csv"].append(f"photos/{number}.png,{number % 2},8,8,40,40")
    for name, rows in lines.items():
        text = "\n".join(["image,label,x0,y0,x1,y1", *rows, ""])
        (tmp_path / name).write_text(text)
    return tmp_path


def experiment(table="names.csv", *, dataset=None, **model):
    known = {"name": "newcomers_net:catdog", "weights": "catdog.pth", "layer": "1"}
    return {
        "name": "mine",
        "dataset": dataset or {**TABLE, "path": table},
        "models": [{**known, **model}],
        "methods": ["grad_cam"],
        "protocol": "gradcam-2017",
        "workers": 0,
        "device": "cpu",
    }


def doctor(content, *, code=1):
    """What doctor says of an experiment, on both outputs."""
    Path("mine.yaml").write_text(yaml.safe_dump(content))
    return "".join(cli("doctor", "mine.yaml", code=code))


def test_two_classes_that_are_numbers_need_no_list(home):
    results = wsol_bench.run(experiment("numbers.csv"))
    assert results.summary["n_images"].item() == 4
    assert set(results.rows["class"]) == {"0", "1"}


def test_top_5_of_two_classes_is_said_to_say_nothing(home):
    results = wsol_bench.run(experiment())
    assert results.summary["top5_cls_error"].item() == 0
    [finding] = [one for one in results.findings if one.kind == "few_classes"]
    assert "all of its 2 classes are among the best 5" in finding.text
    assert "ImageNet" not in "".join(one.sentence for one in results.findings)


@pytest.mark.parametrize(
    ("table", "classes"), [("names.csv", "0\n1\n"), ("numbers.csv", "cat\ndog\n")]
)
def test_classes_of_other_names_are_both_listed(home, table, classes):
    (home / "classes.txt").write_text(classes)
    content = experiment(table, classes="classes.txt")
    said = doctor(content)
    shown = {"names.csv": "2 classes: cat, dog", "numbers.csv": "2 classes: 0, 1"}[table]
    assert shown in said and "'classes:'" in said
    with pytest.raises(
        wsol_bench.errors.DatasetError, match=r"its outputs are 2 classes: .*'classes:'"
    ):
        wsol_bench.run(content)


def test_weights_of_another_head_name_the_number_of_outputs(home):
    assert "num_classes: 1000" in doctor(experiment(weights="other_head.pth"))


def test_a_network_of_other_outputs_names_the_classes_and_the_key(home):
    more = {"weights": "other_head.pth", "arguments": {"num_classes": 1000}}
    said = doctor(experiment(**more))
    assert "2 classes: cat, dog" in said and "num_classes: 2" in said and "'classes:'" in said


def test_doctor_says_nothing_of_wnids(home):
    said = doctor(experiment(), code=0)
    assert not any(word in said for word in ("wnid", "blacklist", "ILSVRC", "synset"))


def test_a_missing_option_lists_its_values_and_what_it_is(home):
    said = doctor(experiment(dataset={"name": "table", "path": "names.csv"}))
    assert "missing option 'convention' (half_open, inclusive" in said


def test_an_unknown_data_set_lists_all_with_a_line_each(home):
    said = doctor(experiment(dataset={"name": "tabel"}))
    assert "did you mean 'table'?" in said
    assert "\n  voc: " in said and "\n  imagenet: " in said


def test_a_module_that_is_not_there_is_said_in_a_sentence(home):
    said = doctor(experiment(name="other_net:catdog"))
    assert "cannot import 'other_net': No module named 'other_net' (looked among" in said


def test_predictions_of_no_class_of_the_data_set_are_an_error(home):
    (home / "boxes.csv").write_text("ImageId,PredictionString\nphotos/0.png,katze 1 2 30 40\n")
    options = ["--option", "path=names.csv", "--option", "convention=half_open"]
    _, said = cli("score", "boxes.csv", "--dataset", "table", *options, code=1)
    assert "(cat, dog), found none of them: katze" in said


def test_a_split_that_is_not_there_lists_those_that_are(home):
    root = write_colors(home / "colors")
    said = doctor(experiment(dataset={"name": "imagenet", "root": str(root), "split": "vall"}))
    assert "split 'vall' (it has val)" in said
