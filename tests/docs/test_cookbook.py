"""Every block of the cookbook runs, in the order of the page."""

import contextlib
import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from command_line import run
from user_modules import importable

from wsol_bench.models.shapes_net import ShapesNet
from wsol_bench.runs.experiment_config import load_config

# The whole page is carried out: checks of several plug-ins, and a run.
pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs/cookbook.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
N_IMAGES = 4


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """What each command of the page printed; its files lie in the working directory."""
    folder = tmp_path_factory.mktemp("cookbook")
    printed = {}
    with contextlib.chdir(folder), importable(folder):
        for language, text in BLOCKS:
            if language != "sh":
                name = re.match(r"# (\S+)\n", text)[1]
                Path(name).write_text(text.replace("limit: 100", f"limit: {N_IMAGES}"))
                importlib.invalidate_caches()
                continue
            for line in text.splitlines():
                printed[line] = install() if line == "pip install ." else run(line)
        yield folder, printed


def install():
    """What pip writes for the entry points; tests need no index and no environment to spoil."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    info = Path(f"{project['name'].replace('-', '_')}-{project['version']}.dist-info")
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    [(group, points)] = project["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {path}" for name, path in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return ""


def test_the_page_has_blocks_of_all_kinds():
    assert {language for language, _ in BLOCKS} == {"python", "sh", "toml", "yaml"}
    assert PAGE.read_text().count("```") == 2 * len(BLOCKS)


def test_its_methods_pass_the_check(page):
    checks = {line: text for line, text in page[1].items() if line.startswith("wsol-bench check")}
    assert len(checks) == 6
    for text in checks.values():
        assert "FAILED" not in text
        assert " 0 failed" in text
    assert "my_cam+power=2" in checks["wsol-bench check my_cam:my_cam --option power=2"]


def test_its_runs_name_what_they_compare(page):
    printed = page[1]
    compared = printed["wsol-bench run compare.yaml --out runs/compare"]
    for name in ("grad_cam", "my_cam", "squared", "layer_cam", "center_gaussian"):
        assert name in compared
    assert "95%" in printed["wsol-bench analyze runs/compare"]
    layers = printed["wsol-bench run layers.yaml --out runs/layers"]
    assert layers.count("grad_cam") == 3
    assert layers.count("fused") == 1
    doubts = printed["wsol-bench run doubts.yaml --out runs/doubts"]
    for name in ("class_swapped(my_cam)", "randomized_weights(my_cam)", "+seed=2"):
        assert name in doubts


def test_its_experiment_on_ilsvrc_can_be_built(page):
    experiment = load_config(page[0] / "ilsvrc.yaml")
    assert [model.name for model in experiment.models] == ["resnet50", "vgg16"]


def test_my_cam_is_what_the_page_says(page):
    """Channels weighed by positive gradients: on a GAP net CAM with positive weights."""
    from wsol_bench.capture import BestClasses, capture
    from wsol_bench.models.target_layers import target_of

    method = sys.modules["my_cam"].my_cam
    net = ShapesNet(4).eval()
    record = capture(
        net, torch.randn(2, 3, 64, 64), [target_of(net)], method.plan, classes=BestClasses(2)
    )
    expected = torch.einsum("bkc,bchw->bkhw", record.class_weights.relu(), record.activations)
    positions = record.activations.shape[-2:].numel()
    torch.testing.assert_close(method(record) * positions, expected, rtol=1e-4, atol=1e-5)
