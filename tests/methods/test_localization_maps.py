"""wsol_bench.localization_maps: any methods, layers and classes, in one forward pass."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from networks import images, network, seeded
from torch import Tensor, nn
from torchvision import models

import wsol_bench
from wsol_bench.capture import Plan, Record
from wsol_bench.errors import ConfigError, ModelError, NotApplicableError
from wsol_bench.methods.base import MapMethod, cam_method, cam_methods

# Wrong types of arguments are refused by the tests' type checks, before these functions.
module = importlib.import_module("wsol_bench.methods.localization_maps")

N_CLASSES = 12


def resnet() -> nn.Module:
    return network("ResNet", N_CLASSES)


def vgg() -> nn.Module:
    return network("VGG", N_CLASSES)


def cam_by_hand(batch: Tensor) -> Tensor:
    """CAM of every class, (batch, n, h, w)."""
    net = resnet()
    with torch.no_grad():
        features = nn.Sequential(*list(net.children())[:-2])(batch)
        return torch.einsum("nc,bchw->bnhw", net.fc.weight, features)


@contextmanager
def forward_passes(net: nn.Module) -> Iterator[list[int]]:
    """Collect the batch size of each forward pass."""
    sizes: list[int] = []
    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    handle = first.register_forward_hook(lambda _, inputs, output: sizes.append(len(inputs[0])))
    yield sizes
    handle.remove()


# ---- classes


def test_maps_are_of_the_k_best_classes_best_first() -> None:
    with torch.no_grad():
        best = resnet()(images()).argsort(dim=1, descending=True)
    for k in (1, 3, N_CLASSES):
        maps = wsol_bench.localization_maps(resnet(), images(), ("cam",), k=k)["cam"]
        expected = torch.stack(
            [cam_by_hand(images())[b, best[b, :k]] for b in range(len(images()))]
        )
        torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("classes", "of_each_image"),
    [
        ([4, 0, 4], [[4, 0, 4], [4, 0, 4]]),
        ((7,), [[7], [7]]),
        ([[4, 0], [9, 11]], [[4, 0], [9, 11]]),
        (torch.tensor([3, 2]), [[3, 2], [3, 2]]),
        (torch.tensor([[3, 2], [2, 3]]), [[3, 2], [2, 3]]),
    ],
    ids=["a list for all", "a tuple for all", "a list each", "a tensor for all", "a tensor each"],
)
def test_classes_are_given_for_all_images_or_for_each(
    classes: object, of_each_image: list[list[int]]
) -> None:
    maps = wsol_bench.localization_maps(resnet(), images(), ("cam",), targets=classes)["cam"]
    every = cam_by_hand(images())
    expected = torch.stack([every[b, of_each_image[b]] for b in range(2)])
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("classes", [[[1, 2]], [[1], [2], [3]]])
def test_classes_for_another_number_of_images_are_an_error(classes: object) -> None:
    """Otherwise the images without classes would have maps of zeros."""
    with pytest.raises(ModelError, match=r"targets: expected .*\(k,\) or \(batch, k\)"):
        wsol_bench.localization_maps(resnet(), images(), targets=classes)


def test_a_class_that_is_no_output_is_an_error() -> None:
    with pytest.raises(ModelError, match="ResNet has no output 12; its outputs are 0 to 11"):
        wsol_bench.localization_maps(resnet(), images(), ("cam",), targets=[1, 12])


# ---- methods


def test_several_methods_share_one_forward_pass() -> None:
    wsol_bench.localization_maps(resnet(), images(3))  # the first time, the network is checked
    with forward_passes(resnet()) as sizes:
        maps = wsol_bench.localization_maps(resnet(), images(3), ("grad_cam", "cam"))
    assert sizes == [3]
    assert list(maps) == ["grad_cam", "cam"]
    alone = wsol_bench.localization_maps(resnet(), images(3), ("cam",))
    torch.testing.assert_close(maps["cam"], alone["cam"], rtol=1e-5, atol=1e-5)
    # grad_cam = ReLU(cam) / number of positions, 4
    torch.testing.assert_close(maps["grad_cam"], maps["cam"].relu() / 4, rtol=1e-4, atol=1e-5)


def test_a_method_without_the_head_that_it_needs_is_an_error_that_says_so() -> None:
    with pytest.raises(ModelError, match=r"cam is not applicable to VGG: .*behind 'features\.19'"):
        wsol_bench.localization_maps(vgg(), images(), ("grad_cam", "cam"))
    with pytest.raises(ModelError, match=r"cam is not applicable to ResNet: .*behind 'layer3'"):
        wsol_bench.localization_maps(resnet(), images(), ("cam",), layer="layer3")


def test_an_unknown_method_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown map method 'gradcam'; did you mean 'grad_cam'"):
        wsol_bench.localization_maps(resnet(), images(), ("gradcam",))


def test_a_decorated_method_can_be_given_without_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        cam_methods, "_plugins", {name: cam_methods.get(name) for name in cam_methods}
    )
    monkeypatch.setattr(cam_methods.catalog, "registered", set(cam_methods.catalog.registered))

    @cam_method("loudest_channel", plan=Plan(), paper="this test")
    def loudest_channel(record: Record) -> Tensor:
        return record.activations.amax(1, keepdim=True).expand(-1, record.classes.shape[1], -1, -1)

    monkeypatch.undo()
    assert "loudest_channel" not in set(cam_methods)
    maps = wsol_bench.localization_maps(resnet(), images(), (loudest_channel,), k=2)
    with torch.no_grad():
        features = nn.Sequential(*list(resnet().children())[:-2])(images())
    torch.testing.assert_close(
        maps["loudest_channel"], features.amax(1, keepdim=True).expand(-1, 2, -1, -1)
    )


def test_a_method_can_be_given_with_bound_options() -> None:
    def power(record: Record, *, exponent: int) -> Tensor:
        return record.activations.pow(exponent).mean(1, keepdim=True)

    method = MapMethod("power", power, Plan(), "this test")
    squared = method.with_options({"exponent": 2}, "methods[0]")
    maps = wsol_bench.localization_maps(resnet(), images(), (squared,), k=1)["power+exponent=2"]
    with torch.no_grad():
        features = nn.Sequential(*list(resnet().children())[:-2])(images())
    torch.testing.assert_close(maps, features.square().mean(1, keepdim=True))


# ---- layers and networks


def test_another_layer_gives_maps_of_its_size() -> None:
    net, classes = resnet(), [5, 0, 9]
    maps = wsol_bench.localization_maps(net, images(), layer="layer2", targets=classes)["grad_cam"]
    first, last = list(net.children())[:6], list(net.children())[6:-1]
    activation = nn.Sequential(*first)(images()).detach().requires_grad_()
    scores = nn.Sequential(*last, nn.Flatten(), net.fc)(activation)
    expected = torch.empty(2, 3, 8, 8)
    for slot, output in enumerate(classes):
        (gradient,) = torch.autograd.grad(scores[:, output].sum(), activation, retain_graph=True)
        weighted = gradient.mean((2, 3), keepdim=True) * activation.detach()
        expected[:, slot] = weighted.sum(1).relu()
    size = expected.max()
    assert size > 0
    torch.testing.assert_close(maps / size, expected / size, rtol=0, atol=1e-4)


def test_a_wrong_layer_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ModelError, match="no layer 'layer44'; did you mean 'layer4'"):
        wsol_bench.localization_maps(resnet(), images(), layer="layer44")


def test_an_unknown_architecture_needs_a_layer_and_then_works() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    with pytest.raises(ModelError, match="no target layer is known for Sequential"):
        wsol_bench.localization_maps(net, images())
    maps = wsol_bench.localization_maps(net, images(), layer="1", targets=[2])["grad_cam"]
    with torch.no_grad():
        by_hand = torch.einsum("c,bchw->bhw", net[4].weight[2], net[:2](images())).relu()
    torch.testing.assert_close(maps[:, 0] * 62 * 62, by_hand, rtol=1e-4, atol=1e-5)


def test_maps_are_float32_and_without_a_graph_in_every_precision() -> None:
    for precision in ("fp32", "bf16", "fp16"):
        maps = wsol_bench.localization_maps(resnet(), images(), precision=precision)["grad_cam"]
        assert maps.dtype == torch.float32
        assert not maps.requires_grad


def test_one_method_needs_no_list() -> None:
    assert list(wsol_bench.localization_maps(resnet(), images(), "grad_cam")) == ["grad_cam"]


def test_zero_class_slots_are_an_error() -> None:
    with pytest.raises(ConfigError, match="k: expected a number of classes, at least 1, found 0"):
        wsol_bench.localization_maps(resnet(), images(), k=0)


def test_an_argument_that_does_not_fit_is_one_error() -> None:
    with pytest.raises(ModelError, match=r"torch\.nn\.Module, found str"):
        module._require_network("resnet18")
    with pytest.raises(ModelError, match=r"permute\(0, 3, 1, 2\) has the channels before rows"):
        wsol_bench.localization_maps(resnet(), images().permute(0, 2, 3, 1))
    require, grid = module._require_choice, module._token_grid
    with pytest.raises(ConfigError, match="layout: expected None or 'nchw', found 'NCHW'"):
        require("layout", "NCHW", (None, "nchw"))
    for given in ((8, 8), "4x6", (4, 6.0, 1)):
        with pytest.raises(ConfigError, match=r"token_grid: expected three numbers, .* found "):
            grid(given)


def test_a_map_comes_without_a_graph_and_in_float32() -> None:
    def attached(record: Record) -> Tensor:
        maps = record.activations[:, :1].expand(-1, record.classes.shape[1], -1, -1)
        return maps.clone().requires_grad_().half()

    method = MapMethod("attached", attached, Plan(), "this test")
    maps = wsol_bench.localization_maps(resnet(), images(), method)["attached"]
    assert maps.dtype == torch.float32
    assert not maps.requires_grad


def test_sanity_rows_that_would_be_ordinary_maps_are_refused() -> None:
    grad_cam = cam_methods.get("grad_cam")
    permuted = replace(grad_cam, sanity="randomized_weights")
    with pytest.raises(ConfigError, match="which only an experiment makes"):
        wsol_bench.localization_maps(resnet(), images(), permuted)
    swapped = replace(grad_cam, sanity="class_swapped")
    plain, other = (
        wsol_bench.localization_maps(resnet(), images(), method, targets=[2, 0])["grad_cam"]
        for method in (grad_cam, swapped)
    )
    torch.testing.assert_close(other, plain.flip(1))
    with pytest.raises(NotApplicableError, match="another class"):
        wsol_bench.localization_maps(resnet(), images(), swapped, targets=[2, 2])


# ---- layers, layouts and heads


def test_a_layer_may_be_given_as_a_module() -> None:
    net, batch = resnet(), images()
    by_name = wsol_bench.localization_maps(net, batch, layer="layer3.0", k=1)
    by_module = wsol_bench.localization_maps(net, batch, layer=net.layer3[0], k=1)
    assert torch.equal(by_module["grad_cam"], by_name["grad_cam"])
    with pytest.raises(ModelError, match=r"expected a module within ResNet.*found ReLU"):
        wsol_bench.localization_maps(net, batch, layer=nn.ReLU())


def test_several_layers_have_maps_by_layer_from_one_pass() -> None:
    net, batch = resnet(), images()
    wsol_bench.localization_maps(net, batch, layer=["layer4", net.layer2])  # checked the first time
    with forward_passes(net) as sizes:
        maps = wsol_bench.localization_maps(
            net, batch, ("grad_cam", "hires_cam"), layer=["layer4", net.layer2], k=1
        )
    assert sizes == [2]
    assert {name: list(by_layer) for name, by_layer in maps.items()} == {
        "grad_cam": ["layer2", "layer4"],
        "hires_cam": ["layer2", "layer4"],
    }
    alone = wsol_bench.localization_maps(net, batch, layer="layer2", k=1)["grad_cam"]
    torch.testing.assert_close(maps["grad_cam"]["layer2"], alone)
    whole = wsol_bench.localization_maps(net, batch, "backprop", layer=["layer2", "layer4"], k=1)
    assert list(whole["backprop"]) == [""]


def test_layout_and_token_grid_of_a_layer_may_be_given() -> None:
    net, batch = network("VisionTransformer"), images()
    layer = "encoder.layers.encoder_layer_1.ln_1"
    asked = wsol_bench.localization_maps(net, batch, layer=layer, k=1)["grad_cam"]
    given = wsol_bench.localization_maps(
        net, batch, layer=layer, layout="tokens", token_grid=(4, 4, 1), k=1
    )["grad_cam"]
    assert torch.equal(given, asked)


HEADS = {
    "sequential": lambda: nn.Sequential(nn.Dropout(), nn.Linear(512, 5)),
    "mlp": lambda: nn.Sequential(nn.Linear(512, 8), nn.ReLU(), nn.Linear(8, 5)),
    "identity": nn.Identity,
}


@pytest.mark.parametrize("head", HEADS)
def test_only_cam_needs_a_linear_head(head: str) -> None:
    net = seeded(lambda: models.resnet18())
    net.fc = HEADS[head]()
    net.eval()
    names = ("grad_cam", "ablation_cam", "eigen_cam")
    assert set(wsol_bench.localization_maps(net, images(), names, k=1)) == set(names)
    with pytest.raises(NotApplicableError, match=r"cam is not applicable.*head 'fc' is .*'head:'"):
        wsol_bench.localization_maps(net, images(), "cam", k=1)


def test_cam_takes_the_linear_layer_of_a_sequential_head_by_its_name() -> None:
    net = seeded(lambda: models.resnet18())
    net.fc = nn.Sequential(nn.Dropout(), nn.Linear(512, 5))
    net.eval()
    cam = wsol_bench.localization_maps(net, images(), "cam", head="fc.1", targets=[2])["cam"]
    expected = net(images())[:, [2]] - net.fc[1].bias[2]
    torch.testing.assert_close(cam.mean((2, 3)), expected.detach())


@pytest.mark.parametrize(("layer", "head"), [("layer4.1.bn1", "fc"), ("layer4.0.conv1", "fc")])
def test_a_head_that_does_not_follow_the_layer_is_no_head_of_it(layer: str, head: str) -> None:
    with pytest.raises(NotApplicableError, match="gives other scores than the network"):
        wsol_bench.localization_maps(resnet(), images(), "cam", layer=layer, head=head, k=1)


@pytest.mark.parametrize("ends", [torch.softmax, torch.log_softmax])
def test_a_softmax_behind_the_head_leaves_cam_as_it_is(ends: Callable[..., Tensor]) -> None:
    net = seeded(lambda: models.resnet18(num_classes=5))
    plain = wsol_bench.localization_maps(net, images(), "cam", targets=[1])["cam"]
    net.fc.register_forward_hook(lambda _, inputs, output: ends(output, 1))
    ended = wsol_bench.localization_maps(net, images(), "cam", targets=[1])["cam"]
    torch.testing.assert_close(ended, plain)


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, batch: Tensor) -> Tensor:
        return self.fc(self.features(batch).relu().mean((2, 3)))


def test_methods_that_need_no_layer_need_no_known_network() -> None:
    net, pixels = seeded(Unknown), images().requires_grad_()
    net(pixels)[:, 3].sum().backward()
    by_hand = pixels.grad.abs().amax(1)
    maps = wsol_bench.localization_maps(net, images(), ("backprop", "rise"), targets=[3])
    torch.testing.assert_close(maps["backprop"][:, 0], by_hand)
    with pytest.raises(ModelError, match=r"name one with 'layer:'.*features \(4, 224, 224\)"):
        wsol_bench.localization_maps(Unknown(), images(), ("backprop", "grad_cam"))


# ---- images


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (images()[0], r"found shape \(3, 64, 64\); images\[None\] is a batch of one image"),
        (images()[:0], r"found shape \(0, 3, 64, 64\)"),
        (images().numpy(), "found ndarray; torch.from_numpy makes a tensor"),
        ([images()[0]], "found list"),
        (images().byte(), "found torch.uint8; scale pixels to 0..1"),
    ],
)
def test_images_that_are_no_batch_are_an_error_that_says_how_to_make_one(
    given: object, message: str
) -> None:
    with pytest.raises(ModelError, match=f"images: expected normalized images.*{message}"):
        wsol_bench.localization_maps(resnet(), given)
