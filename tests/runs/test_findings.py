"""A run says what it saw: odd maps, odd outputs, a part of the whole."""

import json
from pathlib import Path

import pytest
import torch
from command_line import cli
from torch import nn
from torchvision.models import VisionTransformer

import wsol_bench
from wsol_bench import Plan, cam_method
from wsol_bench.datasets.shapes.scene import CLASSES
from wsol_bench.errors import PluginError
from wsol_bench.methods.base import cam_methods
from wsol_bench.models.checkpoints import read_weights
from wsol_bench.models.shapes_net import WEIGHTS, shapes_net
from wsol_bench.runs.findings import FindingKind
from wsol_bench.runs.rescore import rescore

BASE = {
    "name": "findings",
    "dataset": "shapes",
    "models": ["shapes_net"],
    "protocol": "gradcam-2017",
    "limit": 6,
    "workers": 0,
}
# The value of a map at each of six images, by what is wrong with it.
NAN, ZERO, NEGATIVE, EVEN = float("nan"), 0.0, -1.0, 2.0


class Softmaxed(nn.Module):
    """ShapesNet with a softmax behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = shapes_net()
        self.net.load_state_dict(read_weights(WEIGHTS).state)

    def forward(self, images):
        return self.net(images).softmax(1)


@pytest.fixture(autouse=True)
def own_methods(monkeypatch):
    """Methods of a test, and nothing of them left behind."""
    for name in cam_methods.catalog.built_in:
        cam_methods.get(name)
    monkeypatch.setattr(cam_methods, "_plugins", {**cam_methods._plugins})
    monkeypatch.setattr(cam_methods.catalog, "registered", {*cam_methods.catalog.registered})


def odd_maps(values):
    """A method whose map is constant for the images that have a value, and sound for the others."""

    @cam_method("odd_maps", plan=Plan())
    def method(record):
        maps = record.activations.mean(1, keepdim=True).repeat(1, record.classes.shape[1], 1, 1)
        for image, value in enumerate(values):
            maps[image] = value
        return maps

    return method


def run(folder, values, **changes):
    odd_maps(values)
    config = {**BASE, "methods": ["cam", "odd_maps"], "batch_size": 6, **changes}
    return wsol_bench.run(config, out=folder / "run")


@pytest.mark.parametrize("protocol", ["gradcam-2017", "choe-2020-v1"])
def test_odd_maps_are_counted_and_said(protocol: str, tmp_path: Path) -> None:
    results = run(tmp_path, [NAN, NAN, ZERO, NEGATIVE, EVEN], protocol=protocol)
    sound, line = results.summary.to_dict(orient="records")
    counts = ("n_not_finite", "n_zero", "n_not_positive", "n_constant")
    assert [line[name] for name in counts] == [2, 1, 1, 1]
    assert [sound[name] for name in counts] == [0, 0, 0, 0]
    said = [finding.sentence for finding in results.findings]
    assert said[0] == "odd_maps: 2 of 6 maps are not finite and count as misses"
    misses = " and count as misses" if protocol == "gradcam-2017" else ""
    assert said[1:] == [
        f"odd_maps: 1 of 6 maps are zero everywhere{misses}",
        f"odd_maps: 1 of 6 maps have no positive value{misses}",
        "odd_maps: 1 of 6 maps are constant",
    ]
    table = (tmp_path / "run/tables/summary.md").read_text()
    assert all(f"{sentence}." in table for sentence in said)
    again = rescore(results.folder, "zhou-2016", out=tmp_path / "again")
    assert again.findings[0] == results.findings[0]


def test_maps_that_are_all_zero_are_a_finding_of_their_own(tmp_path: Path) -> None:
    [finding] = run(tmp_path, [ZERO] * 6).findings
    assert finding.kind is FindingKind.ALL_ZERO
    assert finding.sentence.startswith("odd_maps: all 6 maps are exactly zero, as at a vision")


def last_block_of_a_transformer():
    """A vision transformer whose head, as usual, reads the class token alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = VisionTransformer(
            image_size=224, patch_size=32, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=16,
            num_classes=len(CLASSES),
        )  # fmt: skip
        nn.init.normal_(net.heads.head.weight)
    return net


@pytest.mark.parametrize(("block", "is_zero"), [(0, False), (1, True)])
def test_the_last_block_of_a_vision_transformer_gives_maps_of_zero(
    block: int, is_zero: bool, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(wsol_bench, "transformer", last_block_of_a_transformer, raising=False)
    layer = f"encoder.layers.encoder_layer_{block}"
    model = {"name": "wsol_bench:transformer", "layer": layer}
    results = run(tmp_path, [], models=[model], methods=["grad_cam"])
    assert results.summary["n_zero"].tolist() == [6 if is_zero else 0]
    assert [finding.kind for finding in results.findings] == is_zero * [FindingKind.ALL_ZERO]


def test_sound_maps_are_no_finding(tmp_path: Path) -> None:
    assert run(tmp_path, []).findings == []


def test_a_softmax_inside_the_network_is_a_finding(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(wsol_bench, "softmaxed", lambda: Softmaxed(), raising=False)
    model = {"name": "wsol_bench:softmaxed", "layer": "net.features", "label": "soft"}
    [finding] = run(tmp_path, [], models=[model], methods=["grad_cam"]).findings
    assert finding.sentence.startswith("soft: its outputs sum to one for each image, as behind a s")
    assert "take the layer out of its forward" in finding.text


def test_json_has_the_findings_of_each_line(tmp_path: Path) -> None:
    run(tmp_path, [ZERO] * 6)
    (tmp_path / "experiment.yaml").write_text((tmp_path / "run/config.yaml").read_text())
    out, _ = cli("run", tmp_path / "experiment.yaml", "--out", tmp_path / "run", "--json")
    cam, odd = json.loads(out)
    assert cam["findings"] == []
    assert len(odd["findings"]) == 1
    assert odd["n_zero"] == 6


def test_a_method_that_writes_into_the_record_stops_the_run(tmp_path: Path) -> None:
    @cam_method("harmful", plan=Plan())
    def harmful(record):
        maps = record.activations.mean(1, keepdim=True).repeat(1, record.classes.shape[1], 1, 1)
        torch.relu_(record.activations.sub_(0.1))
        return maps

    config = {**BASE, "methods": ["harmful", "grad_cam", "layer_cam"]}
    expected = r"'harmful': record\.activations at layer 'features' was changed in place\. The oth"
    with pytest.raises(PluginError, match=expected):
        wsol_bench.run(config, out=tmp_path / "run")


@pytest.mark.parametrize(("order", "kinds"), [((1, 0), [FindingKind.CLASS_ORDER]), ((0, 1), [])])
def test_a_network_that_is_right_more_rarely_than_by_chance_is_a_finding(
    order: tuple[int, int], kinds: list[FindingKind], tmp_path: Path, monkeypatch
) -> None:
    """Two of the classes, in the order of the outputs or in the other one."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = shapes_net()
            self.net.load_state_dict(read_weights(WEIGHTS).state)

        def forward(self, images):
            return self.net(images)[:, :2]

    monkeypatch.setattr(wsol_bench, "two", lambda: Two(), raising=False)
    wnids = sorted(wnid for wnid, *_ in CLASSES)
    (tmp_path / "classes.txt").write_text("".join(f"{wnids[place]}\n" for place in order))
    model = {"name": "wsol_bench:two", "layer": "net.features", "label": "two"}
    model["classes"] = str(tmp_path / "classes.txt")
    findings = run(tmp_path, [], models=[model], methods=["grad_cam"], limit=300).findings
    found = [one for one in findings if one.kind != FindingKind.FEW_CLASSES]
    assert [one.kind for one in found] == kinds
    if found:
        assert "images, fewer than by chance (1 of 2): is this the order of" in found[0].sentence
