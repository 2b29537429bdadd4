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
    lines = cli("list", kind)[0].splitlines()
    assert set(names) <= {line.split()[0] for line in lines if line[0] != " "}
    assert max(map(len, lines)) <= 80


def test_a_method_has_its_description_paper_and_cost():
    text = " ".join(cli("list", "methods")[0].split())
    assert (
        "score_cam Score-CAM (Wang et al., CVPRW 2020, Algorithm 1): weights by masked images' "
        "scores. arXiv:1910.01279 Cost: one forward pass for each channel. score_cam_authors"
    ) in text
    assert "samples:" not in text


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["SMOOTH", "gradients"], ["smooth_grad", "smooth_grad_cam_pp"]),
        (["arXiv:1910.01279"], ["score_cam", "score_cam_authors"]),
        (["second-order"], ["shapley_cam"]),
    ],
)
def test_words_filter_names_descriptions_and_papers(words, found):
    out, err = cli("list", "methods", *words)
    assert [line.split()[0] for line in out.splitlines() if line[0] != " "] == found
    n_all = len([line for line in cli("list", "methods")[0].splitlines() if line[0] != " "])
    assert f"{len(found)} of {n_all} methods have {words[0]!r}" in err


def test_options_are_those_of_the_name_that_is_asked_for():
    out, _ = cli("list", "methods", "rise")
    assert "- masks: PositiveInt = 4000" in out
    out, _ = cli("list", "methods", "cam")
    assert "- " not in out
    out, _ = cli("list", "methods", "layer_cam")
    assert "- fused: bool = False" in out


def test_words_that_nothing_has_name_the_nearest():
    _, err = cli("list", "methods", "gard_cam", code=1)
    assert "no methods have 'gard_cam'; did you mean 'grad_cam'?" in err
