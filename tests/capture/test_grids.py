"""The grid of a layer's output over the input is a fact of the network, not of its shape alone."""

import pytest
import timm
import torch
from networks import calibrated_network, images, seeded
from torch import Tensor, nn

from wsol_bench.capture import Plan, Record, capture
from wsol_bench.capture.grids import LayerGrid
from wsol_bench.errors import ModelError
from wsol_bench.models.target_layers import Layout, TokenGrid, target_of


def recorded(net: nn.Module, batch: Tensor, layer: str, layout: Layout | None = None) -> Record:
    return capture(net, batch, [target_of(net, layer=layer, layout=layout)], Plan())


def grid_of_layer(net: nn.Module, batch: Tensor, layer: str) -> LayerGrid:
    grid = recorded(net, batch, layer).layer.grid
    assert grid is not None
    return grid


# ---- tokens


def small_timm(name: str = "vit_tiny_patch16_224", **arguments: object) -> nn.Module:
    return seeded(lambda: timm.create_model(name, num_classes=5, **arguments))


def test_patches_of_an_input_that_is_not_square() -> None:
    net = small_timm(depth=2, img_size=(64, 80))
    batch = images(2, 64, 80)
    assert grid_of_layer(net, batch, "blocks.1.norm1") == LayerGrid("tokens", 4, 5, first=1)
    record = recorded(net, batch, "blocks.0")
    with torch.no_grad():
        tokens = net.blocks[0](net.norm_pre(net._pos_embed(net.patch_embed(batch))))
    expected = tokens[:, 1:].transpose(1, 2).unflatten(2, (4, 5))
    torch.testing.assert_close(record.activations, expected)


def test_five_prefix_tokens_and_four_patches_are_no_grid_of_nine() -> None:
    net = small_timm(depth=2, img_size=32, reg_tokens=4)
    assert grid_of_layer(net, images(2, 32), "blocks.1.norm1") == LayerGrid("tokens", 2, 2, first=5)


class Tokens(nn.Module):
    """4 x 6 patches of 8 pixels in an order, with extra tokens before and behind them."""

    def __init__(self, before: int, behind: int, *, column_by_column: bool = False) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.before = nn.Parameter(torch.randn(1, before, 8))
        self.behind = nn.Parameter(torch.randn(1, behind, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.fc = nn.Linear(8, 5)
        self.column_by_column = column_by_column

    def forward(self, batch: Tensor) -> Tensor:
        grid = self.patches(batch)
        grid = grid.transpose(2, 3) if self.column_by_column else grid
        n = len(batch)
        tokens = [self.before.expand(n, -1, -1), grid.flatten(2).mT, self.behind.expand(n, -1, -1)]
        return self.fc(self.block(torch.cat(tokens, 1)).mean(1))


@pytest.mark.parametrize(("before", "behind"), [(0, 0), (0, 1), (1, 0), (2, 3), (1, 12)])
def test_class_and_register_tokens_may_stand_anywhere(before: int, behind: int) -> None:
    net = seeded(lambda: Tokens(before, behind))
    batch = images(2, 32, 48)
    record = recorded(net, batch, "block")
    assert record.layer.grid == LayerGrid("tokens", 4, 6, first=before)
    with torch.no_grad():
        changed = record.head(record.activations.flip(2), torch.arange(2))
        output = net.block.forward
        flipped = output(torch.cat([net.before.expand(2, -1, -1), net.patches(batch).flatten(2).mT,
                                    net.behind.expand(2, -1, -1)], 1))  # fmt: skip
        flipped[:, before : before + 24] = (
            flipped[:, before : before + 24].unflatten(1, (4, 6)).flip(1).flatten(1, 2)
        )
    torch.testing.assert_close(changed, net.fc(flipped.mean(1)).detach())


def test_tokens_in_another_order_than_row_by_row_are_refused() -> None:
    net = seeded(lambda: Tokens(1, 0, column_by_column=True))
    with pytest.raises(ModelError, match=r"'block' has 25 tokens.*32 x 48.*'token_grid:"):
        recorded(net, images(2, 32, 48), "block")


@pytest.mark.parametrize("given", [(6, 4, 1), (4, 6, 0), (4, 4, 1), (2, 12, 1)])
def test_a_grid_that_is_given_must_be_that_of_the_tokens(given: tuple[int, int, int]) -> None:
    net = seeded(lambda: Tokens(1, 0))
    target = target_of(net, layer="block", token_grid=TokenGrid(*given))
    with pytest.raises(ModelError, match=r"25 tokens of Tokens lie in the grid \[4, 6, 1\] for an"):
        capture(net, images(2, 32, 48), [target], Plan())
    target = target_of(net, layer="block", token_grid=TokenGrid(4, 6, 1))
    assert capture(net, images(2, 32, 48), [target], Plan()).layer.grid is not None


def test_a_grid_that_is_given_is_taken_and_must_fit() -> None:
    net = seeded(lambda: Tokens(1, 0, column_by_column=True))
    target = target_of(net, layer="block", token_grid=TokenGrid(4, 6, 1))
    record = capture(net, images(2, 32, 48), [target], Plan())
    assert record.layer.grid == LayerGrid("tokens", 4, 6, first=1)
    target = target_of(net, layer="block", token_grid=TokenGrid(5, 5, 1))
    with pytest.raises(ModelError, match=r"25 tokens, too few .* 5 x 5 .* 'token_grid:'"):
        capture(net, images(2, 32, 48), [target], Plan())
    target = target_of(net, layer="patches", token_grid=TokenGrid(4, 6, 0))
    with pytest.raises(ModelError, match=r"\(2, 8, 4, 6\), which are no tokens: leave 'token_gri"):
        capture(net, images(2, 32, 48), [target], Plan())
    with pytest.raises(ModelError, match=r"'token_grid:' belongs to .* found layout 'nchw'"):
        target_of(net, layer="block", layout="nchw", token_grid=TokenGrid(4, 6, 1))


def test_the_network_is_asked_once_for_each_size() -> None:
    net = small_timm(depth=2, dynamic_img_size=True)
    sizes: list[int] = []
    net.register_forward_hook(lambda _, inputs, output: sizes.append(len(output)))
    for side in (64, 64, 96, 64, 96):
        recorded(net, images(1, side), "blocks.1.norm1")
    # Besides, an image and noise show once that an image's logits are its own.
    assert sizes == [1, 5, 2, 1, 1, 5, 1, 1]


# ---- four dimensions


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("swinv2_cr_tiny_ns_224", "stages.0.blocks.0.norm1"),
        ("mambaout_femto", "stages.3"),
        ("convnext_atto", "stages.3.blocks.1.norm"),
    ],
)
def test_channels_that_come_last_are_read_so(name: str, layer: str) -> None:
    options = {"conv_mlp": False} if name == "convnext_atto" else {}
    net = small_timm(name, **options)
    outputs: list[Tensor] = []
    net.get_submodule(layer).register_forward_hook(lambda *args: outputs.append(args[2]))
    record = recorded(net, images(2, 224 if "swin" in name else 96), layer)
    torch.testing.assert_close(record.activations, outputs[0].permute(0, 3, 1, 2).detach())


def test_a_permutation_in_a_swin_transformer_is_read_with_its_channels_first() -> None:
    net = calibrated_network("SwinTransformer")
    outputs: list[Tensor] = []
    net.permute.register_forward_hook(lambda *args: outputs.append(args[2]))
    record = recorded(net, images(), "permute")
    torch.testing.assert_close(record.activations, outputs[0].detach())
    with pytest.raises(ModelError, match=r"48 x 8 in layout 'nhwc'.*cannot be its layout"):
        recorded(net, images(), "permute", "nhwc")


class Cube(nn.Module):
    """Eight channels over 8 x 8 positions: the shape says nothing of the layout."""

    def __init__(self, *, last: bool) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 8, 8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)
        )
        self.norm = nn.Identity()
        self.fc = nn.Linear(8, 5)
        self.last = last

    def forward(self, batch: Tensor) -> Tensor:
        maps = self.features(batch)
        maps = self.norm(maps.permute(0, 2, 3, 1) if self.last else maps)
        return self.fc(maps.mean((1, 2) if self.last else (2, 3)))


@pytest.mark.parametrize("last", [False, True])
def test_a_shape_that_has_two_readings_is_decided_by_what_a_quarter_changes(last: bool) -> None:
    net = seeded(lambda: Cube(last=last))
    assert grid_of_layer(net, images(), "norm").layout == ("nhwc" if last else "nchw")


def test_a_layer_without_locality_and_with_two_readings_is_asked_for() -> None:
    class Mixed(Cube):
        def forward(self, batch: Tensor) -> Tensor:
            maps = self.features(batch).sum((2, 3), keepdim=True).expand(-1, -1, 8, 8)
            return self.fc(self.norm(maps).mean((2, 3)))

    net = seeded(lambda: Mixed(last=False))
    with pytest.raises(ModelError, match="both are possible; name the layout with 'layout:'"):
        recorded(net, images(), "norm")
    assert recorded(net, images(), "norm", "nchw").activations.shape == (2, 8, 8, 8)


def test_outputs_of_windows_are_no_grid_of_the_images() -> None:
    net = small_timm("swin_tiny_patch4_window7_224")
    with pytest.raises(ModelError, match="no grid of positions for each of 2 images"):
        recorded(net, images(2, 224), "layers.0.blocks.0.attn")


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 64), (100, 75), (64, 200)])
def test_borders_of_odd_sizes_do_not_hide_the_layout(height: int, width: int) -> None:
    for name in ("AlexNet", "ConvNeXt", "ResNet"):
        net = calibrated_network(name)
        record = recorded(net, images(2, height, width), target_of(net).layer)
        assert record.layer.grid == LayerGrid("nchw", *record.activations.shape[2:])


# ---- arithmetic


def test_channels_last_become_channels_first() -> None:
    output = torch.arange(2 * 3 * 4).reshape(1, 2, 3, 4)
    grid = LayerGrid("nhwc", 2, 3)
    assert grid.to_channels(output)[0, 1].tolist() == [[1, 5, 9], [13, 17, 21]]
    assert torch.equal(grid.to_output(grid.to_channels(output), output), output)


def test_tokens_lose_the_others_and_fill_rows_first() -> None:
    tokens = torch.tensor([[[-1.0], [-2.0], [1.0], [2.0], [3.0], [4.0], [-3.0]]])
    grid = LayerGrid("tokens", 2, 2, first=2)
    assert grid.to_channels(tokens).tolist() == [[[[1.0, 2.0], [3.0, 4.0]]]]
    assert torch.equal(grid.to_output(grid.to_channels(tokens), tokens), tokens)


def test_leading_dimensions_are_kept() -> None:
    tokens = torch.randn(2, 5, 17, 3)
    grid = LayerGrid("tokens", 4, 4, first=1)
    slots = torch.stack([grid.to_channels(tokens[:, slot]) for slot in range(5)], dim=1)
    assert torch.equal(grid.to_channels(tokens), slots)
