"""Networks of wsolevaluation: the authors' files load, and give the scores and maps of their code.

tests/reference/wsolevaluation_networks.json holds what the authors' code gave (the folder ``wsol``
of https://github.com/clovaai/wsolevaluation, commit 96f4b88), with torch 2 on a CPU. Each network
was built as in their main.py, with 7 classes and ``acol_drop_threshold=0.7``, and put into
evaluation mode; ``weights_for(network)`` was loaded, and these were taken:
``network(two_images(), LABELS)["logits"]`` and ``network(two_images(), LABELS, return_cam=True)``
(tests/support/wsolevaluation_weights.py has these functions). The file holds
``format_of(network)``, the first five logits of each image, the shape of the maps, their sums, and
the first four values of each map's middle row.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from wsolevaluation_weights import (
    LABELS,
    N_CLASSES,
    checkpoint,
    format_of,
    two_images,
    weights_for,
)

import wsol_bench
from wsol_bench.capture import Plan, Record, capture
from wsol_bench.errors import ModelError
from wsol_bench.methods.acol import acol
from wsol_bench.methods.cam import cam
from wsol_bench.models.classifiers import load_classifier
from wsol_bench.models.names import model_names
from wsol_bench.models.paper_networks import wsolevaluation
from wsol_bench.models.target_layers import target_of

REFERENCE = Path(__file__).parents[2] / "reference/wsolevaluation_networks.json"
NETWORKS: dict[str, dict[str, Any]] = json.loads(REFERENCE.read_text())["networks"]
NAMES = sorted(wsolevaluation.__all__)
KINDS = [(name, large) for name in NAMES for large in (False, True)]


def outline(name: str, *, large: bool = False) -> nn.Module:
    """A network without memory behind its parameters."""
    with torch.device("meta"):
        network: nn.Module = getattr(wsolevaluation, name)(N_CLASSES, large_feature_map=large)
    return network.eval()


def network_of(name: str, *, large: bool = False) -> nn.Module:
    network = outline(name, large=large)
    state = {key: value.contiguous() for key, value in weights_for(network).items()}
    network.load_state_dict(state, assign=True)
    return network


def authors_map(name: str, network: nn.Module, record: Record) -> Tensor:
    """The authors' map, from our method's map of the record's one class slot."""
    if name.endswith("acol"):
        return acol(record)[:, 0]
    maps, head = cam(record)[:, 0], network.get_submodule(target_of(network).head or "")
    if isinstance(head, nn.Linear):  # they take the mean over the channels
        return maps / head.in_features
    assert isinstance(head, nn.Conv2d)
    assert head.bias is not None  # a channel of their class convolution has its bias
    return maps + head.bias.detach()[LABELS, None, None]


def test_the_module_has_no_other_networks() -> None:
    names = [name for name in model_names() if name.startswith("wsolevaluation/")]
    assert names == [f"wsolevaluation/{name}" for name in NAMES]


@pytest.mark.parametrize(("name", "large"), KINDS)
def test_the_layer_has_the_grid_that_the_paper_names(name: str, large: bool) -> None:
    network, shapes = outline(name, large=large), list[tuple[int, ...]]()
    layer = network.get_submodule(target_of(network).layer)
    layer.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape[2:]))
    logits = network(torch.empty(1, 3, 224, 224, device="meta"))
    assert logits.shape == (1, N_CLASSES)
    assert shapes == [(28, 28) if large else (14, 14)]


def assert_as_the_authors(name: str, network: nn.Module, expected: dict[str, Any]) -> None:
    """The format of the weights, the scores and the maps are those of the authors' code."""
    assert format_of(network) == expected["format"]
    targets = [target_of(network)]
    record = capture(network, two_images(), targets, Plan(), classes=LABELS[:, None])
    logits = torch.tensor(expected["logits"]).reshape(2, 5)
    assert_close(record.logits[:, :5], logits, rtol=1e-4, atol=1e-4)
    maps = authors_map(name, network, record)
    assert list(maps.shape) == expected["cam_shape"]
    scale = float(maps.abs().max())
    row = maps[:, maps.shape[1] // 2, :4]
    assert_close(row, torch.tensor(expected["cam_rows"]).reshape(2, 4), rtol=0, atol=1e-4 * scale)
    sums = torch.tensor(expected["cam_sums"])
    assert_close(maps.sum(dim=(1, 2)), sums, rtol=0, atol=1e-3 * scale)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_of_the_training_gives_the_scores_and_maps_of_the_authors_code(
    name: str, tmp_path: Path
) -> None:
    state = weights_for(outline(name))
    if name == "resnet50_adl":  # as a training on several GPUs saves it
        state = {f"module.{key}": value for key, value in state.items()}
    path = tmp_path / "last_checkpoint.pth.tar"
    torch.save(checkpoint(name.rpartition("_")[0], state), path)
    arguments = {"num_classes": N_CLASSES, "large_feature_map": False}
    classifier = load_classifier(
        f"wsolevaluation/{name}", weights=str(path), arguments=arguments, dataset_classes=None,
        input_size=32,
    )  # fmt: skip
    assert "'state_dict' in" in classifier.weights_from
    assert_as_the_authors(name, classifier.module, NETWORKS[name])


# One of each code that makes a grid large; the others take seconds.
FAST = {"vgg16_cam", "vgg16_acol", "vgg16_spg", "vgg16_adl", "resnet50_cam", "inception_v3_cam"}


@pytest.mark.parametrize(
    "name",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES],
)
def test_the_large_feature_map_has_the_scores_and_maps_of_the_authors_code(name: str) -> None:
    assert_as_the_authors(name, network_of(name, large=True), NETWORKS[f"{name} large"])


# ---- the grid, which most files do not tell


@pytest.mark.parametrize("name", ["vgg16_cam", "vgg16_spg"])
def test_what_a_file_does_not_tell_is_a_finding_unless_it_is_said(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "last_checkpoint.pth.tar"
    torch.save(checkpoint("vgg16", weights_for(outline(name))), path)
    for arguments in ({}, {"large_feature_map": False}):
        classifier = load_classifier(
            f"wsolevaluation/{name}", weights=str(path), dataset_classes=None, input_size=32,
            arguments={"num_classes": N_CLASSES, **arguments},
        )  # fmt: skip
        texts = [text for text in classifier.findings if "--large_feature_map" in text]
        assert len(texts) == (name == "vgg16_spg" and not arguments)


def test_only_two_networks_number_their_layers_by_the_grid() -> None:
    same = {
        name for name in NAMES if format_of(outline(name)) == format_of(outline(name, large=True))
    }
    assert set(NAMES) - same == {"vgg16_cam", "vgg16_adl"}


def test_a_file_of_the_other_grid_does_not_load_into_vgg16_cam(tmp_path: Path) -> None:
    path = tmp_path / "last_checkpoint.pth.tar"
    torch.save(checkpoint("vgg16", weights_for(outline("vgg16_cam", large=True))), path)
    with pytest.raises(ModelError, match="weights do not fit wsolevaluation/vgg16_cam"):
        load_classifier(
            "wsolevaluation/vgg16_cam", weights=str(path), arguments={"num_classes": N_CLASSES}
        )


# ---- methods


@pytest.mark.parametrize("name", ["vgg16_cam", "resnet50_cam", "inception_v3_cam"])
def test_grad_cam_is_the_positive_part_of_cam_up_to_a_factor(name: str) -> None:
    network = network_of(name)
    maps = wsol_bench.localization_maps(network, two_images(), ["cam", "grad_cam"], targets=[1, 4])
    h, w = maps["cam"].shape[-2:]
    assert_close(maps["grad_cam"] * h * w, maps["cam"].relu(), rtol=1e-3, atol=1e-4)
    assert maps["cam"].relu().any()


# In the others both signs are pooled last, which has no rule.
@pytest.mark.parametrize("name", ["vgg16_cam", "resnet50_adl"])
def test_excitation_backprop_has_its_layers(name: str) -> None:
    maps = wsol_bench.localization_maps(
        network_of(name), two_images(), ["excitation_bp", "c_mwp"], targets=[1]
    )
    shares = maps["excitation_bp"].sum(dim=(1, 2, 3))
    assert (shares > 0.5).all()
    assert (shares < 1.0001).all()
    assert maps["c_mwp"].any()
