"""The networks of the CAM paper are those of the authors' and BVLC's definitions.

reference/zhou_2016.json was made outside of this project: the layers in the order of the .prototxt
files (models/deploy_vgg16CAM, deploy_alexnetplusCAM_imagenet and train_val_googlenetCAM of
github.com/zhoubolei/CAM, bvlc_googlenet and bvlc_alexnet of github.com/BVLC/caffe) with the shapes
of their weights, and the size of the map layer ("map") at the size of the input ("input"), by
Caffe's rules. "logits" are those of OpenCV 4.14, which reads these definitions itself (cv2.dnn):
with 5 classes, the weights of support/formula_weights in a .caffemodel file, and an image of `side`
pixels, BGR less the mean pixel. VGGnet-GAP has a smaller image, and so a smaller last pooling.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from caffemodels import caffemodel
from formula_weights import filled, values
from torch import Tensor, nn
from torchvision import models

from wsol_bench.capture import Plan, Record, capture
from wsol_bench.methods.c_mwp import c_mwp
from wsol_bench.methods.cam import cam
from wsol_bench.methods.excitation_bp import excitation_bp
from wsol_bench.methods.grad_cam import grad_cam
from wsol_bench.models.build import build
from wsol_bench.models.classifiers import load_classifier
from wsol_bench.models.names import model_names
from wsol_bench.models.target_layers import target_of

REFERENCE: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "reference" / "zhou_2016.json").read_text(encoding="utf-8")
)
KINDS = {
    nn.Conv2d: "Convolution",
    nn.ReLU: "ReLU",
    nn.MaxPool2d: "Pooling",
    nn.AdaptiveAvgPool2d: "Pooling",
    nn.LocalResponseNorm: "LRN",
    nn.Linear: "InnerProduct",
    nn.Dropout: "Dropout",
}
NAMES = [name for name in model_names() if name.startswith("zhou_2016/")]
GAP = ["googlenet_gap", "vgg16_gap", "alexnet_star_gap", "alexnet_gap", "googlenet"]
N_CLASSES = 5


def outline(name: str) -> nn.Module:
    """A network without memory behind its parameters."""
    with torch.device("meta"):
        return build(f"zhou_2016/{name}", None, {}).eval()


@cache
def small(name: str) -> nn.Module:
    """A network of 5 classes with the weights of the formula."""
    return filled(build(f"zhou_2016/{name}", None, {"num_classes": N_CLASSES}))


@cache
def recorded(name: str, side: int = 99) -> Record:
    classes = torch.tensor([[1, 2], [3, 1]])
    net = small(name)
    images = values((2, 3, side, side), 1, 200.0)
    return capture(net, images, [target_of(net)], Plan(gradients=True), classes=classes)


def test_every_row_of_the_papers_tables_has_a_network() -> None:
    gap = {f"zhou_2016/{name}" for name in (*GAP, "googlenet_gmp", "nin")}
    assert {"zhou_2016/alexnet", "zhou_2016/vgg16", *gap} == set(NAMES)


# ---- the definitions


@pytest.mark.parametrize("name", REFERENCE)
def test_layers_are_those_of_the_definition_in_its_order(name: str) -> None:
    leaves = [
        (key, module) for key, module in outline(name).named_modules() if not [*module.children()]
    ]
    found = [
        [
            key,
            next(kind for base, kind in KINDS.items() if isinstance(module, base)),
            list(module.weight.shape) if hasattr(module, "weight") else None,
        ]
        for key, module in leaves
    ]
    layers = REFERENCE[name]["layers"]
    assert found == [[key.replace("/", "."), kind, shape] for key, kind, shape in layers]
    assert all(module.bias is not None for _, module in leaves if hasattr(module, "weight"))


@pytest.mark.parametrize("name", REFERENCE)
def test_the_map_has_the_size_of_the_definition(name: str) -> None:
    net, side = outline(name), REFERENCE[name]["input"]
    assert net.pretrained_cfg["input_size"] == (3, side, side)
    shapes = []
    layer = net.get_submodule(target_of(net).layer)
    layer.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    net(torch.empty(1, 3, side, side, device="meta"))
    assert [list(shape[1:]) for shape in shapes] == [REFERENCE[name]["map"]]


@pytest.mark.parametrize("name", [name for name in REFERENCE if "logits" in REFERENCE[name]])
def test_logits_are_those_of_opencv(name: str) -> None:
    side, expected = REFERENCE[name]["side"], torch.tensor([REFERENCE[name]["logits"]])
    bgr = values((1, 3, side, side), 1, 200.0)
    with torch.no_grad():
        logits = small(name)(bgr.flip(1))
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_vgg16_has_the_layers_of_vgg16() -> None:
    with torch.device("meta"):
        expected = [value.shape for value in models.vgg16().state_dict().values()]
    assert [value.shape for value in outline("vgg16").state_dict().values()] == expected


def test_nin_has_the_layers_of_the_converted_definition() -> None:
    """Names, kernels and units in nin.py of github.com/ethereon/caffe-tensorflow."""
    expected = {
        "conv1": (96, 3, 11), "cccp1": (96, 96, 1), "cccp2": (96, 96, 1),
        "conv2": (256, 96, 5), "cccp3": (256, 256, 1), "cccp4": (256, 256, 1),
        "conv3": (384, 256, 3), "cccp5": (384, 384, 1), "cccp6": (384, 384, 1),
        "conv4-1024": (1024, 384, 3), "cccp7-1024": (1024, 1024, 1),
        "cccp8-1024": (1000, 1024, 1),
    }  # fmt: skip
    net = outline("nin")
    found = {
        key: tuple(module.weight.shape[:3])
        for key, module in net.named_modules()
        if isinstance(module, nn.Conv2d)
    }
    assert found == expected
    shapes = []
    net.get_submodule("pool3").register_forward_hook(
        lambda module, inputs, output: shapes.append(output.shape)
    )
    assert net(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 1000)
    assert [tuple(shape) for shape in shapes] == [(1, 384, 6, 6)]  # its last pooling is 6 x 6


def test_the_unpublished_networks_differ_from_their_relatives_as_the_paper_says() -> None:
    gap, gmp = outline("googlenet_gap"), outline("googlenet_gmp")
    assert gap.state_dict().keys() == gmp.state_dict().keys()
    assert isinstance(gmp.CAM_pool, nn.AdaptiveMaxPool2d)
    alexnet = outline("alexnet_gap")
    assert alexnet.CAM_conv.weight.shape == (1024, 128, 3, 3)
    shapes = []
    alexnet.CAM_relu.register_forward_hook(
        lambda module, inputs, output: shapes.append(tuple(output.shape))
    )
    alexnet(torch.empty(1, 3, 227, 227, device="meta"))
    assert shapes == [(1, 1024, 13, 13)]


# ---- weights files and input


def test_a_caffemodel_file_loads_without_its_auxiliary_classifiers(tmp_path: Path) -> None:
    """A file with Caffe's names; the logits are those of the same weights in memory."""
    net, names = small("googlenet"), {}
    for name, kind, shape in REFERENCE["googlenet"]["layers"]:
        if shape:
            layer = net.get_submodule(name.replace("/", "."))
            names[name] = (kind, [layer.weight.detach().numpy(), layer.bias.detach().numpy()])
    names["loss1/conv"] = ("Convolution", [np.ones((128, 512, 1, 1), np.float32)])
    names["loss2/classifier"] = ("InnerProduct", [np.ones((5, 8), np.float32)])
    path = tmp_path / "bvlc_googlenet.caffemodel"
    path.write_bytes(caffemodel(names))
    classifier = load_classifier(
        "zhou_2016/googlenet",
        weights=str(path),
        dataset_classes=list("abcde"),
        arguments={"num_classes": N_CLASSES},
        input_size=64,
    )
    images = values((2, 3, 64, 64), 1, 200.0)
    with torch.no_grad():
        assert torch.equal(classifier.module(images), net(images))
    assert classifier.native_size == 224


def test_normalized_images_are_0_to_255_less_the_mean_pixel() -> None:
    """White, RGB (1, 1, 1), is 255 less (104.007, 116.669, 122.679) in the order BGR."""
    config = outline("nin").pretrained_cfg
    white = (1 - torch.tensor(config["mean"])) / torch.tensor(config["std"])
    expected = torch.tensor([150.993, 138.3312, 132.3211])
    seen: list[Tensor] = []
    net = small("alexnet_star_gap")
    first = net.conv1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        net(white[None, :, None, None].expand(1, 3, 99, 99))
    first.remove()
    torch.testing.assert_close(seen[0][0, :, 0, 0], expected)


# ---- maps


@pytest.mark.parametrize("name", GAP)
def test_grad_cam_is_the_positive_part_of_cam(name: str) -> None:
    record = recorded(name)
    positive = cam(record).relu() / record.activations[0, 0].numel()
    assert positive.amax((2, 3)).count_nonzero() > 1
    torch.testing.assert_close(grad_cam(record), positive, rtol=1e-4, atol=1e-4)


def test_cam_of_maxima_takes_the_weights_of_the_layer_behind_them() -> None:
    record, head = recorded("googlenet_gmp"), small("googlenet_gmp").CAM_fc
    maxima = record.activations.amax((2, 3)) @ head.weight.T + head.bias
    torch.testing.assert_close(record.logits, maxima)
    expected = torch.einsum("c,chw->hw", head.weight[1], record.activations[0])
    torch.testing.assert_close(cam(record)[0, 0], expected.detach())


def test_cam_of_nin_is_its_class_convolution_before_bias_and_relu() -> None:
    record, head = recorded("nin"), small("nin").get_submodule("cccp8-1024")
    maps = torch.einsum("nc,bchw->bnhw", head.weight[:, :, 0, 0], record.activations)
    by_hand = (maps + head.bias[:, None, None]).relu().mean((2, 3))
    torch.testing.assert_close(record.logits, by_hand, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(cam(record)[0], maps[0, [1, 2]].detach(), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("name", [*GAP, "googlenet_gmp", "nin"])
def test_excitation_backprop_is_defined(name: str) -> None:
    record = recorded(name)
    maps = excitation_bp(record)
    assert (maps >= 0).all() and (maps.amax((2, 3)) > 0).any()
    assert c_mwp(record).shape == maps.shape
