"""Networks that were made to get a wrong map past the checks: each is right or refused."""

from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
from networks import StemAndHead, images, seeded
from torch import Tensor, nn

from wsol_bench import localization_maps
from wsol_bench.capture import Plan, capture
from wsol_bench.errors import ModelError, NotApplicableError
from wsol_bench.models.target_layers import target_of


class DropsOut(StemAndHead):
    def features(self, batch: Tensor) -> Tensor:
        return F.dropout(super().features(batch), 0.5)


class DropsOutAndMasks(DropsOut):
    mask = (0.0, 0.0, 0.0, 0.0, -torch.inf)

    def forward(self, batch: Tensor) -> Tensor:
        return super().forward(batch) + torch.tensor(self.mask)


class DropsOutAndHides(DropsOutAndMasks):
    mask = (0.0, 0.0, 0.0, 0.0, -1e4)


class RecursOverTheBatch(StemAndHead):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(12, 12)

    def features(self, batch: Tensor) -> Tensor:
        return self.rnn(self.f(self.stem(batch)).flatten(2).mT)[0].mean(1)


class CountsInABuffer(StemAndHead):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(12))

    def features(self, batch: Tensor) -> Tensor:
        found = super().features(batch)
        self.seen.mul_(0.9).add_(0.1 * found.detach().mean(0))
        return found + self.seen


@pytest.mark.parametrize("n_images", [1, 2, 3])
@pytest.mark.parametrize(
    "make", [DropsOut, DropsOutAndMasks, DropsOutAndHides, RecursOverTheBatch, CountsInABuffer]
)
def test_maps_that_would_depend_on_chance_or_other_images_are_refused(
    make: Callable[[], nn.Module], n_images: int
) -> None:
    with pytest.raises(ModelError, match=r"in two batches differ by|writes into its buffer"):
        localization_maps(seeded(make), images(n_images, 32), layer="f", k=1)


def test_two_equal_images_do_not_hide_that_images_see_each_other() -> None:
    class Whitens(StemAndHead):
        def features(self, batch: Tensor) -> Tensor:
            found = super().features(batch)
            return (found - found.mean(0)) / (found.std(0, correction=0) + 1e-3)

    batch = images(4, 32)
    batch[1] = batch[0]
    with pytest.raises(ModelError, match="in two batches differ by"):
        localization_maps(seeded(Whitens), batch, layer="f", k=1)


class PoolsInHalves(StemAndHead):
    """Half average pooling and half maximum pooling, so that neither gives the scores."""

    mask = 0.0

    def forward(self, batch: Tensor) -> Tensor:
        maps = self.f(self.stem(batch))
        logits = self.fc((maps.amax((2, 3)) + maps.mean((2, 3))) / 2)
        return logits + self.mask * torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0])


@pytest.mark.parametrize("mask", [0.0, -1e4])
def test_a_masked_class_does_not_hide_that_a_head_pools_otherwise(mask: float) -> None:
    net = seeded(PoolsInHalves)
    net.mask = mask
    with pytest.raises(NotApplicableError, match="gives other scores"):
        localization_maps(net, images(2, 32), "cam", layer="f", head="fc", k=1)


def test_a_head_is_asked_again_after_a_batch_without_contrast() -> None:
    net = seeded(PoolsInHalves)
    net.f[0] = nn.Conv2d(12, 12, 3)  # without padding, a black image has equal activations
    localization_maps(net, torch.zeros(2, 3, 32, 32), "cam", layer="f", head="fc", k=1)
    with pytest.raises(NotApplicableError, match="gives other scores"):
        localization_maps(net, images(2, 32), "cam", layer="f", head="fc", k=1)


class SharesItsOutput(nn.Module):
    """A shortcut that is the tensor on which the branch works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.short = nn.Conv2d(3, 12, 4, 4), nn.Identity()
        self.act, self.conv, self.fc = nn.ReLU(True), nn.Conv2d(12, 12, 1), nn.Linear(12, 5)

    def forward(self, batch: Tensor) -> Tensor:
        maps = self.stem(batch)
        shortcut = self.short(maps)
        return self.fc((self.conv(self.act(maps)) + shortcut).mean((2, 3)))


@pytest.mark.parametrize("n_images", [1, 2])
def test_a_layer_whose_output_is_changed_in_place_behind_it_is_right_or_refused(
    n_images: int,
) -> None:
    net, batch = seeded(SharesItsOutput), images(n_images, 32)
    record = capture(net, batch, [target_of(net, layer="short")], Plan())
    torch.testing.assert_close(record.logits, net(batch).detach())
    torch.testing.assert_close(record.activations, net.stem(batch).detach())
    with pytest.raises(ModelError, match="works in place behind it"):
        localization_maps(net, batch, "grad_cam", layer="short", k=1)


def unrolled() -> nn.Module:
    return timm.create_model(
        "hiera_tiny_224", num_classes=5, img_size=(64, 64), embed_dim=16, num_heads=1,
        stages=(1, 1, 1, 1),
    )  # fmt: skip


class Mirrored(StemAndHead):
    def features(self, batch: Tensor) -> Tensor:
        return super().features(batch.flip(3))


class Transposed(StemAndHead):
    def features(self, batch: Tensor) -> Tensor:
        return super().features(batch.transpose(2, 3))


class BackwardScan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.scan, self.fc = nn.Conv2d(3, 8, 16, 16), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, batch: Tensor) -> Tensor:
        tokens = self.patches(batch).flatten(2).mT
        return self.fc((tokens + self.scan(tokens.flip(1)).flip(1)).mean(1))


class SequenceFirst(nn.Module):
    """As many tokens as images: the shape does not tell which dimension is the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 16, 16, 16), nn.LayerNorm(16)
        self.block, self.fc = nn.TransformerEncoderLayer(16, 2, 32), nn.Linear(16, 5)

    def forward(self, batch: Tensor) -> Tensor:
        tokens = self.norm(self.patches(batch).flatten(2).mT).permute(1, 0, 2)
        return self.fc(self.block(tokens).mean(0))


@pytest.mark.parametrize(
    ("make", "layer", "side"),
    [
        (unrolled, "blocks.0", 64), (Mirrored, "f", 64), (Transposed, "f", 64),
        (BackwardScan, "scan", 64), (SequenceFirst, "block", 32),
        (lambda: timm.create_model("nest_tiny", num_classes=5, img_size=64),
         "levels.0.transformer_encoder.0.norm1", 64),
    ],
    ids=["unrolled", "mirrored", "transposed", "backward scan", "sequence first", "blocks"],
)  # fmt: skip
def test_a_grid_in_another_order_is_refused(
    make: Callable[[], nn.Module], layer: str, side: int
) -> None:
    with pytest.raises(ModelError, match=r"is elsewhere|'token_grid:|aspect"):
        localization_maps(seeded(make), images(4, side), layer=layer, k=1)


# ---- what is sound is not refused


def test_a_layer_of_an_altered_network_may_be_named() -> None:
    net = seeded(lambda: timm.create_model("resnet18", num_classes=5))
    del net.layer4

    def forward(batch: Tensor) -> Tensor:
        maps = net.maxpool(net.act1(net.bn1(net.conv1(batch))))
        return net.layer3(net.layer2(net.layer1(maps))).mean((2, 3))

    net.forward = forward
    record = capture(net, images(), [target_of(net, layer="layer3")], Plan())
    maps = localization_maps(net, images(), layer="layer3", targets=[3])["grad_cam"]
    # By hand: the score of class 3 is the mean of channel 3 over the positions.
    expected = record.activations[:, 3].relu() / record.activations[0, 0].numel()
    torch.testing.assert_close(maps[:, 0], expected)


def test_a_second_name_of_a_module_is_a_name() -> None:
    net = seeded(StemAndHead)
    net.alias = net.f
    batch = images(2, 32)
    by_alias, by_name = (
        localization_maps(net, batch, layer=layer, k=1)["grad_cam"] for layer in ("alias", "f")
    )
    assert torch.equal(by_alias, by_name)


def test_a_grid_finer_than_the_input_may_be_said() -> None:
    class Enlarges(StemAndHead):
        def features(self, batch: Tensor) -> Tensor:
            return super().features(F.interpolate(batch, scale_factor=8))

    net, batch = seeded(Enlarges), images(2, 32)
    maps = localization_maps(net, batch, layer="f", layout="nchw", targets=[2])["grad_cam"]
    with torch.no_grad():
        activations = net.f(net.stem(F.interpolate(batch, scale_factor=8)))
        expected = torch.einsum("c,bchw->bhw", net.fc.weight[2], activations).relu() / 64**2
    torch.testing.assert_close(maps[:, 0], expected)


def test_a_network_of_one_image_at_a_time_has_maps() -> None:
    class One(StemAndHead):
        def forward(self, batch: Tensor) -> Tensor:
            assert len(batch) == 1
            return super().forward(batch)

    batch = images(1, 32)
    found, expected = (
        localization_maps(seeded(make), batch, layer="f", layout="nchw", k=1)["grad_cam"]
        for make in (One, StemAndHead)
    )
    assert torch.equal(found, expected)


def test_a_network_of_one_batch_size_is_refused_by_that_reason() -> None:
    class Four(StemAndHead):
        def forward(self, batch: Tensor) -> Tensor:
            return super().forward(batch.view(4, 3, 32, 32))

    with pytest.raises(ModelError, match="runs on 4 images and fails on 3"):
        localization_maps(seeded(Four), images(4, 32), layer="f", layout="nchw", k=1)


def test_a_batch_without_finite_logits_leaves_the_next_one_to_be_checked() -> None:
    net, batch = seeded(DropsOut), images(2, 32)
    localization_maps(net, torch.full_like(batch, torch.nan), layer="f", layout="nchw", k=1)
    with pytest.raises(ModelError, match="in two batches differ by"):
        localization_maps(net, batch, layer="f", layout="nchw", k=1)


@pytest.mark.parametrize("name", ["cam", "ablation_cam"])
@pytest.mark.parametrize("precision", ["bf16", "half"])
def test_rounding_within_a_network_is_no_difference_of_its_float32_logits(
    name: str, precision: str
) -> None:
    class Widens(StemAndHead):
        def forward(self, batch: Tensor) -> Tensor:
            return super().forward(batch).float()

    options = {"layer": "f", "head": "fc", "targets": [1]}
    exact = localization_maps(seeded(Widens), images(3, 32), name, **options)[name]
    net = seeded(Widens)
    net = net.to(torch.bfloat16) if precision == "half" else net
    autocast = "bf16" if precision == "bf16" else "fp32"
    maps = localization_maps(net, images(3, 32), name, **options, precision=autocast)[name]
    assert 0 < float((maps - exact).abs().max()) < 0.1 * float(exact.abs().max())
