"""The part behind a layer, run alone, against the whole network with a hook at the layer."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from networks import calibrated_network, images, seeded
from torch import Tensor, nn

from wsol_bench import localization_maps
from wsol_bench.capture import Plan, Record, capture
from wsol_bench.errors import NotApplicableError
from wsol_bench.models.target_layers import target_of


def recorded(net: nn.Module, batch: Tensor, layer: str) -> Record:
    return capture(net, batch, [target_of(net, layer=layer)], Plan(gradients=True))


@torch.no_grad()
def brute_force(net: nn.Module, batch: Tensor, record: Record, replaced: Tensor) -> Tensor:
    """Logits of the whole network, by a hook that puts activations in the place of the output."""
    grid = record.layer.grid
    assert grid is not None
    layer = net.get_submodule(record.layer.name)
    handle = layer.register_forward_hook(lambda *args: grid.to_output(replaced, args[2]).clone())
    try:
        return net(batch.clone())
    finally:
        handle.remove()


def check(net: nn.Module, batch: Tensor, layer: str) -> None:
    record = recorded(net, batch, layer)
    order = torch.tensor([1, 0, 1, 1])
    replaced = record.activations[order].clone()
    replaced[:, ::2] *= torch.tensor([0.0, 0.5, 2.0, 1.0])[:, None, None, None]
    expected = brute_force(net, batch[order], record, replaced)
    torch.testing.assert_close(record.head(replaced, order), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(expected, record.logits[order], rtol=1e-3), "the layer has no effect"


LAYERS = [
    ("ResNet", "layer3.0.conv2"), ("ResNet", "layer4.0.conv2"), ("ResNet", "layer4.0.bn1"),
    ("ResNet", "layer2.0.downsample.0"), ("ResNet", "conv1"), ("ResNet", "layer2"),
    ("DenseNet", "features.denseblock1.denselayer1.conv1"), ("DenseNet", "features.transition1"),
    ("GoogLeNet", "inception4a.branch2.0.conv"), ("GoogLeNet", "inception5a.branch4"),
    ("Inception3", "Mixed_7b.branch3x3_2a.conv"), ("MobileNetV2", "features.5.conv.0"),
    ("MobileNetV3", "features.4.block.1"), ("ShuffleNetV2", "stage3.0.branch2.3"),
    ("SqueezeNet", "features.7.expand1x1"), ("EfficientNet", "features.4.0.block.2"),
    ("RegNet", "trunk_output.block2.block2-0.f.a"), ("MNASNet", "layers.9.0.layers.3"),
    ("VisionTransformer", "encoder.layers.encoder_layer_0.mlp.0"),
    ("VisionTransformer", "encoder.layers.encoder_layer_0.ln_2"),
    ("VisionTransformer", "conv_proj"),
    ("SwinTransformer", "features.1.0.attn"), ("SwinTransformer", "features.2.norm"),
    ("ConvNeXt", "features.1.0.block.3"),
    ("MaxVit", "blocks.0.layers.0.layers.MBconv.layers.conv_b"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "layer"), LAYERS)
def test_any_layer_of_an_architecture_may_be_replaced(name: str, layer: str) -> None:
    check(calibrated_network(name), images(2, 128 if name == "Inception3" else 64), layer)


# ---- paths around the layer


class Paths(nn.Module):
    """A stem, a layer and a head; in subclasses something passes around the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.layer = nn.Conv2d(8, 8, 3, 1, 1)
        self.side = nn.Conv2d(8, 8, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, 5)

    def forward(self, batch: Tensor) -> Tensor:
        return self.fc(self.body(batch).mean((2, 3)))

    def body(self, batch: Tensor) -> Tensor:
        return self.layer(self.stem(batch))


class Downsampling(Paths):
    """A module that runs behind the layer takes what another module returned before it."""

    def body(self, batch: Tensor) -> Tensor:
        maps = self.stem(batch)
        return self.layer(self.relu(maps + 0)) + self.side(maps)


class FromTheImage(Paths):
    """The input image itself reaches past the layer, by a function and by a module."""

    def body(self, batch: Tensor) -> Tensor:
        maps = self.layer(self.stem(batch))
        return maps * self.stem(batch) + F.avg_pool2d(batch, 2).mean(1, keepdim=True)


class FunctionalStem(Paths):
    def body(self, batch: Tensor) -> Tensor:
        maps = F.relu(F.conv2d(batch, self.stem.weight, stride=2, padding=1))
        return self.layer(maps) + self.side(maps)


class Twice(Paths):
    """One module runs before the layer and behind it."""

    def body(self, batch: Tensor) -> Tensor:
        maps = self.relu(self.side(self.relu(self.stem(batch))))
        return self.side(self.relu(self.layer(maps))) + maps


class NormalizesInPlace(Paths):
    def body(self, batch: Tensor) -> Tensor:
        batch.sub_(0.3).mul_(2)
        maps = self.stem(batch)
        return self.layer(maps) + maps * batch.mean((1, 2, 3), keepdim=True)


class ByContainers(Paths):
    """Modules hand over dictionaries, numbers and tensors without a batch."""

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.randn(2, 1, 1, 8))

        def forward(self, maps: Tensor) -> dict[str, object]:
            scale = self.table.permute(0, 3, 1, 2)[:1]
            return {"scale": scale, "table": self.table, "n": 3, "maps": [maps, None]}

    def __init__(self) -> None:
        super().__init__()
        self.pair = self.Pair()

    def body(self, batch: Tensor) -> Tensor:
        noted = self.pair(self.stem(batch))
        maps = self.layer(noted["maps"][0])
        added = noted["table"].mean() * noted["n"]
        return self.side(noted["maps"][0]) * noted["scale"] + maps + added


class BatchSecond(Paths):
    """A tensor that passes around the layer has its batch in the second dimension."""

    class Tokens(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return maps.flatten(2).permute(2, 0, 1).contiguous()

    def __init__(self) -> None:
        super().__init__()
        self.tokens = self.Tokens()

    def body(self, batch: Tensor) -> Tensor:
        maps = self.stem(batch)
        tokens = self.tokens(maps)
        back = tokens.permute(1, 2, 0).unflatten(2, maps.shape[2:])
        return self.layer(maps) + back.square()


class Windows(Paths):
    """A tensor that passes around the layer has the windows of all images in one dimension."""

    class Cut(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return maps.unflatten(2, (2, -1)).transpose(1, 2).flatten(0, 1)

    def __init__(self) -> None:
        super().__init__()
        self.cut = self.Cut()

    def body(self, batch: Tensor) -> Tensor:
        maps = self.stem(batch)
        windows = self.cut(maps)
        back = windows.unflatten(0, (-1, 2)).transpose(1, 2).flatten(2, 3)
        return self.layer(maps) + back.square()


PATHS = [
    Downsampling, FromTheImage, FunctionalStem, Twice, NormalizesInPlace, ByContainers,
    BatchSecond, Windows,
]  # fmt: skip


@pytest.mark.parametrize("make", PATHS)
def test_what_passes_around_the_layer_is_replayed(make: Callable[[], nn.Module]) -> None:
    check(seeded(make), images(2, 32), "layer")


@pytest.mark.parametrize("n_images", [1, 2, 3])
@pytest.mark.parametrize("make", PATHS)
def test_a_batch_of_any_size_has_its_own_tensors_replayed(
    make: Callable[[], nn.Module], n_images: int
) -> None:
    record = recorded(seeded(make), images(n_images, 32), "layer")
    replayed = record.head(record.activations, torch.arange(n_images))
    torch.testing.assert_close(replayed, record.logits, rtol=1e-4, atol=1e-5)


class ByAttribute(Paths):
    """A module leaves a tensor in an attribute, which no hook sees."""

    class Leaves(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            self.left = maps.mean((2, 3), keepdim=True)
            return maps

    def __init__(self) -> None:
        super().__init__()
        self.leaves = self.Leaves()

    def body(self, batch: Tensor) -> Tensor:
        maps = self.leaves(self.stem(batch))
        return self.layer(maps) * (1 + self.leaves.left)


class ByBatchSize(Paths):
    """Modules run image by image."""

    def body(self, batch: Tensor) -> Tensor:
        maps = torch.cat([self.stem(image) for image in batch.split(1)])
        return self.layer(maps) + maps


@pytest.mark.parametrize(
    ("make", "message"),
    [(ByAttribute, "its logits are off by|it fails"), (ByBatchSize, "number of images")],
)
@pytest.mark.parametrize("name", ["ablation_cam", "shapley_cam", "finer_cam"])
def test_a_path_that_cannot_be_replayed_is_refused(
    make: Callable[[], nn.Module], message: str, name: str
) -> None:
    net, batch = seeded(make), images(3, 32)
    with pytest.raises(NotApplicableError, match=rf"behind layer 'layer'.*({message}).*'layer:'"):
        localization_maps(net, batch, name, layer="layer", k=1)
    maps = localization_maps(net, batch, "grad_cam", layer="layer", k=1)
    assert bool(maps["grad_cam"].any())  # it does not run that part


# ---- methods that run the part behind the layer


@pytest.mark.parametrize("layer", ["layer3.0.conv2", "layer4.0.conv2", "layer4.1.bn1"])
def test_shapley_cam_of_a_piecewise_linear_network_is_grad_cam(layer: str) -> None:
    net = calibrated_network("ResNet")
    maps = localization_maps(net, images(), ("grad_cam", "shapley_cam"), targets=[3], layer=layer)
    scale = float(maps["grad_cam"].abs().max())
    assert scale > 0
    torch.testing.assert_close(maps["shapley_cam"], maps["grad_cam"], rtol=1e-4, atol=1e-5 * scale)


def test_ablation_cam_within_a_block_is_that_of_the_whole_network() -> None:
    net, batch, layer = calibrated_network("ResNet"), images(1), "layer3.0.conv2"
    record = recorded(net, batch, layer)
    n_channels = record.activations.shape[1]
    ablated = record.activations.expand(n_channels, -1, -1, -1).clone()
    ablated[torch.arange(n_channels), torch.arange(n_channels)] = 0
    without = brute_force(net, batch.expand(n_channels, -1, -1, -1), record, ablated)[:, 3]
    score = record.logits[0, 3]
    weights = (score - without) / score.abs()
    expected = torch.einsum("c,chw->hw", weights, record.activations[0]).relu()
    maps = localization_maps(net, batch, "ablation_cam", targets=[3], layer=layer)["ablation_cam"]
    scale = float(expected.abs().max())
    torch.testing.assert_close(maps[0, 0], expected, rtol=1e-3, atol=1e-4 * scale)
