"""A world that can be solved by hand: colored rectangles, and a network that sees color.

`write_colors` writes images in the ILSVRC layout: a red, green or blue rectangle on black; the
class is the color (`write_masks` writes masks instead of boxes). `color_net` averages each color
channel over 32 x 32 cells and adds up the whole image for each class, so the CAM of a class is the
cell average of its color, known by hand.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from wsol_bench.capture import Plan
from wsol_bench.methods.base import MapMethod

WNIDS = ("n00000001", "n00000002", "n00000003")
WORDS = ("red", "green", "blue")
# (height, width), class, half-open boxes in original pixels, multiples of the cell (size / 7).
SCENES = (
    ((224, 224), 0, [(64, 32, 160, 128)]),
    ((448, 224), 1, [(0, 64, 96, 320)]),
    ((112, 448), 2, [(128, 32, 448, 96)]),
    ((224, 224), 0, [(0, 0, 64, 64), (96, 96, 224, 224)]),
)


def color_net(num_classes: int = 3) -> nn.Module:
    """Cell averages of the colors, global average pooling, a linear layer of ones."""
    from collections import OrderedDict

    net = nn.Sequential(
        OrderedDict(
            cells=nn.AvgPool2d(32),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            fc=nn.Linear(3, num_classes, bias=False),
        )
    )
    with torch.no_grad():
        net.fc.weight.copy_(torch.eye(num_classes, 3))
    return net


def net_without_blue(num_classes: int = 3, *, color: int = 2) -> nn.Module:
    """A network that gives NaN for a blue image, or for another color, as if it overflowed."""

    class Overflow(nn.Module):
        def forward(self, logits):
            return torch.where(logits[:, color : color + 1] > 0, torch.nan, logits)

    net = color_net(num_classes)
    net.add_module("overflow", Overflow())
    return net


def net_without_green(num_classes: int = 3) -> nn.Module:
    """A network that gives NaN for a green image."""
    return net_without_blue(num_classes, color=1)


def chatty_net(num_classes: int = 3) -> nn.Module:
    """A network whose builder prints, as a download does."""
    print("hello from the builder")
    return color_net(num_classes)


def square_net(num_classes: int = 3) -> nn.Module:
    """A network that refuses images that are not square, as a vision transformer does."""
    net = color_net(num_classes)

    def refuse(module, inputs):
        assert inputs[0].shape[-1] == inputs[0].shape[-2], "only squares"

    net.register_forward_pre_hook(refuse)
    return net


def two_heads(num_classes: int = 3) -> nn.Module:
    """A network with a second linear layer, of another shape, that has no effect."""
    net = color_net(num_classes)

    class Idle(nn.Linear):
        def forward(self, logits):
            return logits

    net.add_module("other", Idle(7, 5))
    return net


def _power_cam(record, *, power=1):
    return record.activations[:, record.classes[0]] ** power


def _nan_cam(record):
    return record.activations[:, record.classes[0]] * torch.nan


nan_cam = MapMethod("nan_cam", _nan_cam, Plan(), "")
power_cam = MapMethod("power_cam", _power_cam, Plan(), "")


def write_colors(root: Path, *, scenes=SCENES) -> Path:
    """Write the scenes under ``root`` in the Kaggle layout; returns it."""
    data = root / "ILSVRC/Data/CLS-LOC/val"
    annotations = root / "ILSVRC/Annotations/CLS-LOC/val"
    data.mkdir(parents=True)
    annotations.mkdir(parents=True)
    mapping = [f"{wnid} {words}" for wnid, words in zip(WNIDS, WORDS, strict=True)]
    (root / "LOC_synset_mapping.txt").write_text("\n".join(mapping) + "\n")
    for index, ((height, width), label, boxes) in enumerate(scenes, 1):
        pixels = np.zeros((height, width, 3), np.uint8)
        objects = []
        for x0, y0, x1, y1 in boxes:
            pixels[y0:y1, x0:x1, label] = 255
            objects.append(
                f"<object><name>{WNIDS[label]}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
                f"<xmax>{x1 - 1}</xmax><ymax>{y1 - 1}</ymax></bndbox></object>"
            )
        name = f"ILSVRC2012_val_{index:08d}"
        # A PNG named .JPEG, as ILSVRC has one: no compression moves an edge.
        Image.fromarray(pixels).save(data / f"{name}.JPEG", format="PNG")
        (annotations / f"{name}.xml").write_text(
            f"<annotation><filename>{name}</filename><size><width>{width}</width>"
            f"<height>{height}</height><depth>3</depth></size>{''.join(objects)}</annotation>"
        )
    return root


def write_masks(root: Path, *, scenes=SCENES) -> dict:
    """Write the scenes with one mask for each box, as wsolevaluation's metadata.

    Returns the data set for an experiment. In the first image the lowest 10 lines are ignored where
    they hold no object.
    """
    images = root / "images"
    images.mkdir(parents=True)
    ids, labels, masks = [], [], []
    for index, ((height, width), label, boxes) in enumerate(scenes):
        name = f"{index}.png"
        pixels = np.zeros((height, width, 3), np.uint8)
        ids.append(f"{name}\n")
        labels.append(f"{name},{label}\n")
        for number, (x0, y0, x1, y1) in enumerate(boxes):
            mask = np.zeros((height, width), np.uint8)
            pixels[y0:y1, x0:x1, label] = mask[y0:y1, x0:x1] = 255
            Image.fromarray(mask).save(images / f"{index}_{number}.png")
            ignore = "ignore.png" if index == number == 0 else ""
            masks.append(f"{name},{index}_{number}.png,{ignore}\n")
        Image.fromarray(pixels).save(images / name)
    lowest = np.zeros(scenes[0][0], np.uint8)
    lowest[-10:] = 255
    Image.fromarray(lowest).save(images / "ignore.png")
    for name, lines in (("image_ids", ids), ("class_labels", labels), ("localization", masks)):
        (root / f"{name}.txt").write_text("".join(lines))
    return {"name": "wsol_metadata", "metadata": str(root), "images": str(images)}


def color_experiment(root: Path, **changes) -> dict:
    """An experiment on the color world; nearest upsampling keeps the cells' edges."""
    return {
        "name": "colors",
        "dataset": {"name": "imagenet", "root": str(root)},
        "models": [
            {
                "name": "colors:color_net",
                "label": "color_net",
                "layer": "cells",
                "head": "fc",
                "mean": [0, 0, 0],
                "std": [1, 1, 1],
            }
        ],
        "methods": ["cam", "grad_cam"],
        "protocol": {"name": "gradcam-2017", "map": {"upsample": "nearest"}},
        "batch_size": 3,
        "workers": 2,
        "device": "cpu",
        "max_failed": 1,
        **changes,
    }
