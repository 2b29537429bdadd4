"""Commands that say what an experiment can contain."""

import json

import pytest
from command_line import cli

import wsol_bench


def test_the_version_is_the_packages_own():
    assert cli("--version")[0].strip() == wsol_bench.__version__


def test_schema_is_json():
    assert "models" in json.loads(cli("schema")[0])["properties"]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("methods", ["cam", "grad_cam", "center_gaussian", "maps_from", "boxes_from"]),
        ("models", ["shapes_net", "resnet50", "vgg16"]),
        ("datasets", ["imagenet", "shapes"]),
        ("protocols", ["gradcam-2017", "zhou-2016"]),
        ("metrics", ["max_top1_loc", "pointing_game", "top_k_intersection"]),
    ],
)
def test_a_list_has_the_names_of_its_kind(kind, names):
    listed = [line.split()[0] for line in cli("list", kind)[0].splitlines()]
    assert set(names) <= set(listed)
