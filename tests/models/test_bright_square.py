"""The table's layers of timm's families: a bright square moves the map's peak to its corner.

The networks have random weights, and few blocks where the family lets them. Their batch
normalization has seen noise, and the head reads class 1 off what a square in any corner changes in
its input.
"""

import pytest
import timm
import torch
import torch.nn.functional as F
from networks import seeded
from torch import Tensor, nn

from wsol_bench import localization_maps
from wsol_bench.errors import NotApplicableError
from wsol_bench.models.target_layers import target_of

CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]
ONE_EACH = {"depths": (1, 1, 1, 1)}
N_CLASSES = 4


def slow(*case: object) -> object:
    return pytest.param(*case, marks=pytest.mark.slow)


# Name, class, side of the image, and the builder's arguments.
NETWORKS = [
    ("beit_base_patch16_224", "Beit", 224, {"depth": 1, "embed_dim": 96, "num_heads": 3}),
    (
        "beit_base_patch16_224",
        "Beit",
        224,
        {"depth": 1, "embed_dim": 96, "num_heads": 3, "global_pool": "token"},
    ),
    ("eva02_tiny_patch14_224", "Eva", 224, {"depth": 1}),
    ("vit_tiny_patch16_224", "VisionTransformer", 224, {"depth": 1}),
    ("vit_tiny_patch16_224", "VisionTransformer", 224, {"depth": 1, "global_pool": "avg"}),
    ("deit_tiny_distilled_patch16_224", "VisionTransformerDistilled", 224, {"depth": 1}),
    ("swinv2_tiny_window8_256", "SwinTransformerV2", 256, {**ONE_EACH, "embed_dim": 24}),
    ("davit_tiny", "DaVit", 224, {**ONE_EACH, "embed_dims": (24, 48, 96, 192)}),
    ("resnetv2_50", "ResNetV2", 128, {"layers": (1, 1, 1, 1)}),
    ("hrnet_w18_small", "HighResolutionNet", 128, {}),
    ("regnetx_002", "RegNet", 128, {}),
    ("mobilenetv4_conv_small", "MobileNetV3", 256, {}),
    ("repvgg_a0", "ByobNet", 128, {}),
    ("convnextv2_atto", "ConvNeXt", 128, {}),
    ("edgenext_xx_small", "EdgeNeXt", 128, {}),
    ("mambaout_femto", "MambaOut", 128, {}),
    ("mobilevit_xxs", "ByobNet", 128, {}),
    ("poolformer_s12", "MetaFormer", 128, {}),
    ("fastvit_t8", "FastVit", 128, {}),
    slow("maxvit_tiny_rw_224", "MaxxVit", 224, {**ONE_EACH, "embed_dim": (32, 32, 64, 64)}),
    slow("inception_v3", "InceptionV3", 299, {}),
    slow("inception_v4", "InceptionV4", 299, {}),
    slow("inception_resnet_v2", "InceptionResnetV2", 128, {}),
    slow("cspresnet50", "CspNet", 128, {}),
    slow("dla34", "DLA", 128, {}),
    slow("ese_vovnet19b_dw", "VovNet", 256, {}),
    slow("focalnet_tiny_srf", "FocalNet", 128, {}),
    slow("nfnet_f0", "NormFreeNet", 128, {}),
    slow("tresnet_m", "TResNet", 128, {}),
]


def squares(side: int, corner: tuple[int, int] | None, n: int, seed: int) -> Tensor:
    """Noise with a bright square in a corner, or none."""
    generator = torch.Generator().manual_seed(seed)
    batch = 0.2 * torch.randn(n, 3, side, side, generator=generator)
    if corner is not None:
        quarter = side // 4
        rows, columns = (slice(0, quarter) if at == 0 else slice(side - quarter, side)
                         for at in corner)  # fmt: skip
        batch[:, :, rows, columns] += 3
    return batch


def calibrated(name: str, side: int, options: dict[str, object]) -> nn.Module:
    """The network of random weights; batch normalization has the statistics of noise."""
    net = seeded(lambda: timm.create_model(name, num_classes=N_CLASSES, **options))
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
            module.momentum = None
    with torch.no_grad():
        for key, parameter in net.named_parameters():
            # A scale that leaves next to nothing of a block tests nothing.
            if parameter.ndim == 1 and "bias" not in key and (parameter.abs() < 1e-3).all():
                parameter.fill_(0.5)
        net(torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0)))
    return net.eval()


@torch.no_grad()
def read_square(net: nn.Module, side: int) -> None:
    """Make class 1 the direction in which a square changes the input of the head."""
    head = net.get_classifier()
    head = head[0] if isinstance(head, tuple) else head
    seen: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1)))
    net(torch.cat([squares(side, corner, 4, seed) for seed, corner in enumerate(CORNERS)]))
    net(squares(side, None, 16, 9))
    handle.remove()
    direction = seen[0].mean(0) - seen[1].mean(0)
    nn.init.normal_(head.weight, std=0.01)
    head.weight[1] = (direction / direction.norm()).reshape(head.weight[1].shape)


@pytest.mark.parametrize(("name", "kind", "side", "options"), NETWORKS)
def test_a_bright_square_moves_the_peak_to_its_corner(
    name: str, kind: str, side: int, options: dict[str, object]
) -> None:
    net = calibrated(name, side, options)
    assert type(net).__name__ == kind
    read_square(net, side)
    batch = torch.cat([squares(side, corner, 2, 5) for corner in CORNERS])
    maps = localization_maps(net, batch, "grad_cam", targets=[1])["grad_cam"][:, 0]
    by_corner = maps.unflatten(0, (4, 2)).mean(1)
    # What is common to all corners, as borders are, belongs to none of them. A peak is as wide as
    # the square, at least.
    window = max(1, by_corner.shape[1] // 4)
    smooth = F.avg_pool2d(by_corner - by_corner.mean(0), window, 1)
    for corner, map in zip(CORNERS, smooth, strict=True):
        row, column = divmod(int(map.argmax()), map.shape[1])
        center = ((row + 0.5) / map.shape[0], (column + 0.5) / map.shape[1])
        assert tuple(int(at > 0.5) for at in center) == corner


@pytest.mark.parametrize(("name", "kind", "side", "options"), NETWORKS)
def test_a_head_in_the_table_gives_the_networks_scores_from_the_layers_means(
    name: str, kind: str, side: int, options: dict[str, object]
) -> None:
    side = 128 if side == 256 and "window" not in name else side
    net = calibrated(name, side, options)
    batch = squares(side, None, 2, 3)
    if target_of(net).head is None:
        with pytest.raises(NotApplicableError, match="no head is known that directly follows"):
            localization_maps(net, batch, "cam", k=1)
        return
    maps = localization_maps(net, batch, "cam", targets=list(range(N_CLASSES)))["cam"]
    head = net.get_submodule(target_of(net).head)
    with torch.no_grad():
        torch.testing.assert_close(maps.mean((2, 3)) + head.bias, net(batch), rtol=1e-3, atol=1e-4)
