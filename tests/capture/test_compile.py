"""A network compiled up to its target layer gives the same boxes; the rest is not compiled."""

import shutil

import numpy as np
import pytest
import torch
import torchvision
from colors import color_experiment, write_colors
from torch import nn

import wsol_bench
from wsol_bench.capture import compile_up_to
from wsol_bench.geometry import box_iou
from wsol_bench.models.target_layers import Target, target_of

BOX = ["x0", "y0", "x1", "y1"]


def compiled(net):
    return {name for name, module in net.named_modules() if module._compiled_call_impl is not None}


def on_meta(name):
    """The network without memory for its weights; nothing compiled is ever called here."""
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None)


IMAGES = torch.empty(1, 3, 224, 224, device="meta")
STEM = {"conv1", "bn1", "relu", "maxpool"}
DENSE = {
    "conv0", "norm0", "relu0", "pool0", "denseblock1", "transition1", "denseblock2", "transition2",
    "denseblock3", "transition3", "denseblock4", "norm5",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "layer", "expected"),
    [
        ("resnet18", None, STEM | {"layer1", "layer2", "layer3", "layer4.0", "layer4.1"}),
        ("resnet18", "layer2", STEM | {"layer1", "layer2.0", "layer2.1"}),
        ("resnet18", "conv1", set()),
        ("vgg11", None, {f"features.{index}" for index in range(19)}),
        ("vgg11", "features.7", {f"features.{index}" for index in range(7)}),
        ("densenet121", None, {f"features.{name}" for name in DENSE}),
    ],
)
def test_only_modules_that_run_before_the_layer_are_compiled(name, layer, expected):
    net = on_meta(name)
    target = target_of(net, layer=layer)
    compile_up_to(net, [target], IMAGES)
    assert compiled(net) == expected


def test_a_module_that_does_not_run_is_not_compiled():
    """GoogLeNet's auxiliary heads run in training only."""
    with torch.device("meta"):
        net = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=True)
    net.train()
    compile_up_to(net, [target_of(net)], IMAGES)
    assert "inception4a" in compiled(net)
    assert not {"aux1", "aux2"} & compiled(net)
    assert net.training and net.inception3a.training


class Again(nn.Module):
    """A network with one ReLU module that runs before the layer ``second`` and behind it."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(4, 4, 3)

    def forward(self, images):
        return self.relu(self.second(self.relu(self.first(images)))).mean(dim=(2, 3))


def test_a_module_that_runs_before_and_behind_is_not_compiled():
    """Compiled code has no gradients batched over the class slots: the run would fail."""
    net = Again()
    compile_up_to(net, [Target("second")], torch.zeros(1, 3, 16, 16))
    assert compiled(net) == {"first"}


@pytest.mark.slow
@pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))),
    reason="torch.compile needs a C++ compiler for the CPU, and there is none on the PATH",
)
@pytest.mark.parametrize(
    ("options", "methods"),
    [({}, ["cam", "grad_cam"]), ({"layer": "layer2"}, ["grad_cam", "layer_cam"])],
    ids=["the table's layer", "an early layer"],
)
def test_a_compiled_run_has_the_boxes_of_an_uncompiled_run(tmp_path, options, methods):
    from torch._dynamo.utils import counters

    network = {"name": "resnet18", "weights": "random", "arguments": {"num_classes": 3}}
    experiment = color_experiment(
        write_colors(tmp_path),
        models=[{**network, **options}],
        methods=methods,
        protocol="gradcam-2017",
        workers=0,
        batch_size=4,
    )
    plain = wsol_bench.run(experiment)
    torch._dynamo.reset()
    counters.clear()
    fast = wsol_bench.run({**experiment, "compile": True})
    assert counters["stats"]["unique_graphs"] > 4, "nothing was compiled"
    assert fast.folder.identity.config["compile"] is True
    columns = ["method", "image_id", "rank", "class", "status", "protocol_hash"]
    assert fast.rows[columns].equals(plain.rows[columns])
    assert set(fast.rows["status"]) == {"box"}
    boxes, others = (run.rows[BOX].to_numpy(np.float64) for run in (fast, plain))
    assert (box_iou(boxes, others) < 0.999).mean() <= 0.005
