"""init: an experiment for every layout that a loader reads, which is valid and loads its data."""

import re

import pytest
import yaml
from command_line import cli
from imagenet_roots import LAYOUTS
from loader_worlds import WORLDS, World, picture, put

from wsol_bench.runs.experiment_config import load_config

# The folder or file that is given, below the root of a world, and the data set that is recognized.
GIVEN = {
    "wsol_metadata, boxes": ("metadata/OpenImages/test", "wsol_metadata"),
    "wsol_metadata, masks": ("metadata/OpenImages/test", "wsol_metadata"),
    "table, CSV": ("boxes.csv", "table"),
}


def written(folder, *arguments):
    out, err = cli("init", folder / "e.yaml", *arguments)
    assert out == ""
    assert err.splitlines()[-3].startswith("Check it and its data:  wsol-bench doctor")
    return (folder / "e.yaml").read_text()


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_each_layout_is_recognized_and_loads(world: World, tmp_path) -> None:
    root = tmp_path / "root"
    world.write(root, world.stems, world.suffix)
    if world.name == "tiny_imagenet, train":
        (root / "val/val_annotations.txt").unlink()
    below, name = GIVEN.get(world.name, ("", world.name.partition(",")[0]))
    text = written(tmp_path, "--data", root / below)
    experiment = load_config(yaml.safe_load(text))
    assert experiment.dataset.name == name
    expected = {**world.options(root), "cache": False}
    loaded = experiment.dataset.load()
    assert loaded.findings == ()
    assert len(loaded) == 4
    assert loaded.fingerprint == world.load(root).fingerprint
    for option in set(experiment.dataset.options) & set(expected):
        assert experiment.dataset.options[option] == str(expected[option])
    assert "masks" in world.name or name == "openimages" or "protocol: gradcam-2017" in text
    assert bool(loaded.masks) == ("\nprotocol: choe-2020-pxap" in text)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_of_imagenet_is_recognized(layout, tmp_path):
    root = LAYOUTS[layout](tmp_path / "root")
    text = written(tmp_path, "--data", root)
    loaded = load_config(yaml.safe_load(text)).dataset.load()
    assert len(loaded) == 4
    assert len(loaded.boxes) == 5
    has_images = layout != "annotations only"
    assert ("#   4 images in" in text) == has_images
    assert ("\n  - resnet50\n" in text) == has_images


def test_without_data_it_is_the_embedded_data_set_and_every_comment_is_valid(tmp_path):
    text = written(tmp_path)
    options = re.findall(r"^# ([a-z_]+: .*)$", text, re.MULTILINE)
    keys = {line.partition(":")[0] for line in options}
    assert keys >= {"limit", "metrics", "batch_size", "device", "precision", "protocol"}
    for line in options:
        content = yaml.safe_load(text)
        change = yaml.safe_load(line)
        assert load_config({**content, **change}).name == "e"
    everything = re.sub(r"(?m)^(?!#)protocol.*$", "", text)
    assert load_config(yaml.safe_load(re.sub(r"(?m)^# (limit|workers)", r"\1", everything)
                                      + "protocol: zhou-2016\n")).limit == 500  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        'it\'s: "quoted" # no',
        "zw\u00f6lf \U0001f989",
        "two\nlines: 1\n- x",
        "- a",
        "{b}",
        "a\u2028b",
        "yes",
        "%x\\n",
    ],
)
def test_a_root_of_any_name_reads_back_as_it_is(name, tmp_path):
    root = tmp_path / name
    world = WORLDS[0]
    world.write(root, world.stems, world.suffix)
    text = written(tmp_path, "--data", root)
    content = yaml.safe_load(text)
    assert content["dataset"]["root"] == str(root)
    assert set(content) == {"name", "dataset", "models", "methods", "protocol"}
    assert len(load_config(tmp_path / "e.yaml").dataset.load()) == 4


def test_a_root_that_an_experiment_cannot_name_is_refused(tmp_path):
    root = tmp_path / "${HOME}"
    WORLDS[0].write(root, WORLDS[0].stems, "JPEG")
    _, err = cli("init", tmp_path / "e.yaml", "--data", root, code=1)
    assert "taken for an environment variable" in err
    assert not (tmp_path / "e.yaml").exists()


def test_a_file_is_replaced_with_force_only(tmp_path):
    (tmp_path / "my.yaml").write_text("mine")
    _, err = cli("init", cwd=tmp_path, code=1)
    assert "my.yaml exists" in err
    assert (tmp_path / "my.yaml").read_text() == "mine"
    _, err = cli("init", "--data", "my photos", cwd=tmp_path, code=1)
    # The command can be copied: it does not replace the file by one of the embedded data set.
    assert err.splitlines()[-1].endswith("wsol-bench init my.yaml --force --data 'my photos'")
    cli("init", "--force", cwd=tmp_path)
    assert load_config(tmp_path / "my.yaml").dataset.name == "shapes"


def test_what_is_not_recognized_names_the_nearest_layout_and_all_others(tmp_path):
    put(tmp_path / "voc/JPEGImages/a.jpg", "")
    put(tmp_path / "voc/ImageSets/Main/val.txt", "a\n")
    _, err = cli("init", tmp_path / "e.yaml", "--data", tmp_path / "voc", code=1)
    assert "holds ImageSets, JPEGImages" in err
    assert (
        "Nearest is voc. There: JPEGImages; ImageSets/Main/<split>.txt. Missing: Annotations\n"
        in err
    )
    assert err.splitlines()[0] == f"looking at {tmp_path / 'voc'}"
    assert err.splitlines()[-1].startswith("Nearest is voc")
    for name in ("cub", "imagenet", "openimages", "table", "tiny_imagenet", "voc", "wsol_metadata"):
        assert f"\n  {name}: " in err


def test_every_folder_below_that_is_recognized_is_told_with_its_command(tmp_path):
    for name in ("a voc", "voc2"):
        put(tmp_path / name / "JPEGImages/a.jpg", "")
        put(tmp_path / name / "ImageSets/Main/val.txt", "a\n")
        put(tmp_path / name / "Annotations/a.xml", "")
    put(tmp_path / "other/notes.txt", "")
    _, err = cli("init", "e.yaml", "--force", "--data", tmp_path, cwd=tmp_path, code=1)
    assert err.splitlines()[-2:] == [
        f"  voc: wsol-bench init e.yaml --force --data '{tmp_path}/a voc'",
        f"  voc: wsol-bench init e.yaml --force --data {tmp_path}/voc2",
    ]
    assert "Expected one of" not in err


def test_a_folder_of_images_names_the_folder_around_that_reads_it(tmp_path):
    put(tmp_path / "shop/boxes.csv", "image,label,x0,y0,x1,y1\na.jpg,cat,1,2,30,20\n")
    picture(tmp_path / "shop/images/a.jpg")
    picture(tmp_path / "shop/others/b.jpg")
    _, err = cli("init", "--data", tmp_path / "shop/images", cwd=tmp_path, code=1)
    assert err.splitlines()[-2:] == [
        "The folder that it lies in is recognized:",
        f"  table: wsol-bench init my.yaml --data {tmp_path / 'shop'}",
    ]
    _, err = cli("init", "--data", tmp_path / "shop/others", cwd=tmp_path, code=1)
    assert "The folder that it lies in" not in err


def test_an_image_is_no_data_set(tmp_path):
    picture(tmp_path / "photos/a.jpg")
    put(tmp_path / "photos/a.xml", "<annotation/>")
    _, err = cli("init", "--data", tmp_path / "photos/a.jpg", cwd=tmp_path, code=1)
    assert "It is an image; name the folder of the images and their boxes." in err
    assert err.splitlines()[-1] == f"  voc: wsol-bench init my.yaml --data {tmp_path / 'photos'}"


def test_other_data_sets_that_fit_are_comments(tmp_path):
    world = next(world for world in WORLDS if world.name == "openimages")
    world.write(tmp_path / "root", world.stems, world.suffix)
    text = written(tmp_path, "--data", tmp_path / "root")
    [other] = re.findall(r"(?m)^# (dataset: \{name: wsol_metadata.*)$", text)
    content = {**yaml.safe_load(text), **yaml.safe_load(other)}
    assert len(load_config(content).dataset.load()) == 4


@pytest.mark.parametrize(
    ("header", "row", "convention"),
    [
        ("image,label,x0,y0,x1,y1", "a.jpg,cat,1,2,30,20", "half_open"),
        ("image,label,x,y,w,h", "a.jpg,cat,1,2,30,20", "xywh"),
        ("Image,Label,x0,y0,x1,y1", "a.jpg,cat,0.1,0.2,0.5,0.75", "normalized"),
    ],
)
def test_a_table_tells_its_convention_as_far_as_it_can(header, row, convention, tmp_path):
    path = put(tmp_path / "data/boxes.csv", f"{header}\n{row}\n")
    _, err = cli("init", tmp_path / "e.yaml", "--data", path.parent)
    options = load_config(tmp_path / "e.yaml").dataset.options
    assert options == {"path": str(path), "convention": convention}
    assert ("Look up convention" in err) == (convention != "xywh")
    assert "no network can run" in (tmp_path / "e.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("FileName;class;xmin;ymin;xmax;ymax\na.jpg;cat;1;2;30;20\n",
         {"image": "filename", "label": "class",
          "x0": "xmin", "y0": "ymin", "x1": "xmax", "y1": "ymax"}),
        ("a.jpg\tcat\t1\t2\t30\t20\n", None),
    ],
)  # fmt: skip
def test_a_table_of_any_header_or_none_is_recognized(text, columns, tmp_path):
    put(tmp_path / "data/boxes.tsv", text)
    picture(tmp_path / "data/a.jpg")
    written(tmp_path, "--data", tmp_path / "data")
    dataset = load_config(tmp_path / "e.yaml").dataset
    assert dataset.options.get("columns") == columns
    assert dataset.load().boxes.tolist() == [[1, 2, 30, 20]]


def test_a_table_of_centers_is_recognized(tmp_path):
    header = "image,label,x_center,y_center,width,height"
    put(tmp_path / "data/boxes.csv", f"{header}\na.jpg,cat,0.5,0.5,0.5,0.5\n")
    picture(tmp_path / "data/a.jpg")
    written(tmp_path, "--data", tmp_path / "data")
    assert load_config(tmp_path / "e.yaml").dataset.load().boxes.tolist() == [[10, 7.5, 30, 22.5]]
