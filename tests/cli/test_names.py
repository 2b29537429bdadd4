"""Commands that say what an experiment can contain."""

import json

import pytest
from command_line import cli

import wsol_bench
from wsol_bench.protocols.load import SUMMARIES, protocol_names


def test_a_protocol_of_no_paper_has_its_hash_alone():
    out, _ = cli("list", "protocols", "wsol-2018-squash")
    assert "GT-known\nhash 8f3954312069" in "\n".join(line.strip() for line in out.splitlines())


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
    assert "- masks: whole number above 0; default 4000\n" in out
    assert " N; the paper takes 4000 for VGG-16 and 8000 for\n" in out
    out, _ = cli("list", "methods", "center_box")
    assert "- side: number above 0 and below 1; default 0.7071\n" in out
    out, _ = cli("list", "datasets", "imagenet")
    assert "- boxes: auto, xml or csv; default auto\n" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("methods", "cam"),
        ("datasets", "imagenet"),
        ("metrics", "deletion"),
        ("models", "vgg16"),
        ("protocols", "choe-2020-v1"),
    ],
)
def test_a_name_means_that_one_alone(kind, name):
    out, _ = cli("list", kind, name)
    assert [line.split()[0] for line in out.splitlines() if line[0] != " "] == [name]
    assert ("no options" in out) == (name in ("cam", "deletion"))


def test_protocols_have_a_line_in_words_that_init_writes_too(tmp_path):
    assert set(SUMMARIES) == set(protocol_names())
    out, _ = cli("list", "protocols", "gradcam-2017")
    assert out.split("\n")[0].split(maxsplit=1) == [
        "gradcam-2017",
        "Boxes at 15% of a map's maximum, IoU 0.5",
    ]
    assert out.split("\n")[1].strip().startswith("arXiv:1610.02391, hash ")
    cli("init", tmp_path / "e.yaml")
    assert "# boxes at 15% of a map's maximum, IoU 0.5\n" in (tmp_path / "e.yaml").read_text()


def test_the_offered_example_has_options():
    for kind in ("methods", "datasets", "metrics"):
        command = cli("list", kind)[1].rpartition("wsol-bench ")[2].split()
        assert "\n" + " " * 25 + "- " in cli(*command)[0]


def test_words_that_nothing_has_name_the_nearest():
    _, err = cli("list", "methods", "gard_cam", code=1)
    assert "no methods have 'gard_cam'; did you mean 'grad_cam'?" in err
