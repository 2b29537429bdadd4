"""Networks whose layers look like grids of the image and are none: each is right or refused."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from networks import StemAndHead, calibrated_network, images, seeded
from torch import Tensor, nn

from wsol_bench import localization_maps
from wsol_bench.capture import Plan, capture
from wsol_bench.errors import ModelError
from wsol_bench.models.target_layers import target_of

# ---- where the grid ends


class Alters(StemAndHead):
    """A network that does something to its images before all else."""

    def __init__(self, alter: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.alter = alter

    def stem_input(self, batch: Tensor) -> Tensor:
        return self.alter(batch)


class SeesAll(Alters):
    """Squeeze and excitation: every position depends on what the network sees of the image."""

    def stem_input(self, batch: Tensor) -> Tensor:
        batch = super().stem_input(batch)
        return batch * (1 + batch.mean((2, 3), keepdim=True)).sigmoid()


@pytest.mark.parametrize("make", [Alters, SeesAll])
@pytest.mark.parametrize(
    "alter",
    [
        lambda batch: batch[:, :, 16:-16, 16:-16],
        lambda batch: batch[:, :, 8:-8, 8:-8],
        lambda batch: batch[:, :, :, :-8],
        lambda batch: batch[:, :, 8:],
        lambda batch: F.interpolate(batch[:, :, 16:-16, 16:-16], scale_factor=2),
    ],
    ids=["center", "narrow border", "right", "top", "enlarged"],
)
def test_a_layer_of_a_crop_of_the_image_is_refused(
    make: Callable[[Callable[[Tensor], Tensor]], nn.Module], alter: Callable[[Tensor], Tensor]
) -> None:
    net = seeded(lambda: make(alter))
    with pytest.raises(ModelError, match=r"crops or pads.*'layer:'|aspect"):
        localization_maps(net, images(2, 64), layer="f", k=1)


@pytest.mark.parametrize(
    "pad", [(32, 0, 0, 0), (0, 0, 0, 16), (0, 24, 24, 0), (16, 16, 16, 16), (28, 28, 28, 28)]
)
def test_a_layer_of_a_padded_image_is_refused(pad: tuple[int, ...]) -> None:
    net = seeded(lambda: Alters(lambda batch: F.pad(batch, pad)))
    with pytest.raises(ModelError, match=r"crops or pads.*'layer:'|aspect"):
        localization_maps(net, images(2, 64), layer="f", k=1)


def test_a_grid_over_a_crop_may_be_said() -> None:
    net = seeded(lambda: Alters(lambda batch: batch[:, :, 16:-16, 16:-16]))
    record = capture(net, images(2, 64), [target_of(net, layer="f", layout="nchw")], Plan())
    assert record.activations.shape == (2, 12, 8, 8)


SOUND: dict[str, Callable[[], nn.Module]] = {
    "patches that leave out a rest": lambda: nn.Conv2d(3, 12, 16, 16),
    "strides without padding": lambda: nn.Sequential(
        nn.Conv2d(3, 12, 3, 2), nn.Conv2d(12, 12, 3, 2), nn.Conv2d(12, 12, 3, 2)
    ),
    "every other pixel": lambda: nn.Sequential(nn.Conv2d(3, 12, 1, 2), nn.Conv2d(12, 12, 1, 2)),
    "a border of nothing": lambda: nn.Conv2d(3, 12, 1, 4, padding=1),
    "a border that is blanked": lambda: nn.Sequential(
        nn.ZeroPad2d(-16), nn.ZeroPad2d(16), nn.Conv2d(3, 12, 4, 4)
    ),
    **{
        f"positions with activations above {least}": lambda least=least: nn.Sequential(
            nn.Conv2d(3, 12, 4, 4), nn.Threshold(least, 0.0)
        )
        for least in (4.0, 5.0, 6.0)
    },
}


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("size", [(64, 64), (75, 64), (100, 79), (143, 143)])
def test_borders_that_convolutions_lose_or_add_are_no_crop(
    name: str, size: tuple[int, int]
) -> None:
    net = seeded(lambda: StemAndHead(SOUND[name]()))
    record = capture(net, images(2, *size), [target_of(net, layer="f")], Plan())
    torch.testing.assert_close(record.activations, net.f(net.stem(images(2, *size))).detach())


@pytest.mark.parametrize("side", [127, 160])
@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("AlexNet", ["features.0", "features.5", "features.8"]),
        ("Inception3", ["Conv2d_1a_3x3", "maxpool1", "Mixed_6a", "Mixed_7b"]),
        ("SqueezeNet", ["features.0", "features.2", "features.7.expand1x1"]),
        ("EfficientNet", ["features.1", "features.4.0.block.1", "features.7"]),
        ("VGG", ["features.1", "features.10", "features.18"]),
    ],
)
def test_early_and_late_layers_of_architectures_are_no_crops(
    name: str, layers: list[str], side: int
) -> None:
    net = calibrated_network(name)
    record = capture(net, images(1, side), [target_of(net, layer=at) for at in layers], Plan())
    assert all(bool(layer.activations.any()) for layer in record.layers)


# ---- tokens in a place of their own


class Turns(nn.Module):
    """As many channels as tokens, which mix within blocks of their own (MLP-Mixer)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 64, 8, 8), nn.LayerNorm(64)
        self.turned, self.mix, self.fc = nn.Identity(), nn.Linear(64, 64), nn.Linear(64, 5)
        self.pooled = nn.Identity()

    def forward(self, batch: Tensor) -> Tensor:
        tokens = self.norm(self.patches(batch).flatten(2).mT)
        tokens = tokens + self.mix(self.turned(tokens.mT)).mT
        return self.fc(self.pooled(tokens.mean(1, keepdim=True).expand_as(tokens)).mean(1))


def unfused_vit(**options: Any) -> nn.Module:
    net = timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=64, depth=3, **options)
    for block in net.blocks:
        block.attn.fused_attn = False
    return net


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        (Turns, "turned"), (unfused_vit, "blocks.0.attn.attn_drop"),
        (unfused_vit, "blocks.2.attn.attn_drop"),
        (lambda: unfused_vit(class_token=False, global_pool="avg"), "blocks.1.attn.attn_drop"),
    ],
    ids=["turned", "first block", "last block", "no class token"],
)  # fmt: skip
def test_a_square_of_tokens_is_no_grid_of_the_image(
    make: Callable[[], nn.Module], layer: str
) -> None:
    with pytest.raises(ModelError, match=r"attention matrix.*'layer:'"):
        localization_maps(seeded(make), images(2, 64), layer=layer, k=1)


def test_as_many_channels_as_tokens_are_no_tokens() -> None:
    net, batch = seeded(Turns), images(2, 64)
    record = capture(net, batch, [target_of(net, layer=at) for at in ("norm", "pooled")], Plan())
    tokens = net.norm(net.patches(batch).flatten(2).mT).detach()
    torch.testing.assert_close(record.layers[0].activations, tokens.mT.unflatten(2, (8, 8)))
    # Every position sees the whole image, which contradicts no grid.
    assert record.layers[1].activations.shape == (2, 64, 8, 8)
