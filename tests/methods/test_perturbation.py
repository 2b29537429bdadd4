"""Common properties of the methods that ask the network about masked images or activations."""

from typing import Any

import pytest
import torch
from map_methods import named, with_options
from masked_networks import SIZE, record_of
from networks import build_network, curved_net, images
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from traces import fail, unchanged

from wsol_bench.capture import BestClasses, Plan, capture
from wsol_bench.errors import ConfigError, PluginError
from wsol_bench.methods.ablation_cam import ablation_cam
from wsol_bench.methods.base import MapMethod, cam_methods
from wsol_bench.methods.is_cam import is_cam
from wsol_bench.methods.occlusion import occlusion
from wsol_bench.methods.rise import rise
from wsol_bench.methods.score_cam import score_cam
from wsol_bench.methods.ss_cam import ss_cam
from wsol_bench.models.target_layers import Target

METHODS = [
    score_cam,
    with_options(ss_cam, samples=2),
    with_options(is_cam, steps=3),
    ablation_cam,
    with_options(rise, masks=20, cells=3),
    with_options(occlusion, window=4, stride=3),
]

LAYER_METHODS = METHODS[:4]


# ---- all of them


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_an_image_has_the_same_map_alone_and_in_a_batch(method: MapMethod) -> None:
    net, batch = curved_net(), images(20, *SIZE)
    maps = method(record_of(net, batch))
    assert maps.isfinite().all() and maps.any()
    for b in (0, 7, 19):
        alone = method(record_of(net, batch[b : b + 1]))[0]
        torch.testing.assert_close(maps[b], alone, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_slots_are_independent(method: MapMethod) -> None:
    net, batch = curved_net(), images(3, *SIZE)
    maps = method(record_of(net, batch, torch.tensor([[0, 1, 2, 3]] * 3)))
    others = method(record_of(net, batch, torch.tensor([[3, 1], [1, 3], [2, 2]])))
    expected = torch.stack([maps[0, [3, 1]], maps[1, [1, 3]], maps[2, [2, 2]]])
    torch.testing.assert_close(others, expected, rtol=1e-3, atol=1e-6)
    assert not torch.allclose(maps[:, 0], maps[:, 1], rtol=1e-3)


PASSES = {
    "score_cam": (5, 0),
    "ss_cam": (2 * 5, 0),
    "is_cam": ((3 - 1) * 5, 0),
    "ablation_cam": (1, 5),  # one pass notes the modules before the layer
    "rise": (20, 0),
    "occlusion": (3 * 4, 0),
}


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("method", METHODS, ids=named)
def test_passes_do_not_depend_on_the_number_of_classes(method: MapMethod, k: int) -> None:
    of = record_of(curved_net(), images(4, *SIZE), k=k)
    counted = []
    handle = of.probe.model.register_forward_pre_hook(
        lambda module, inputs: counted.append(len(inputs[0]))
    )
    with of.probe.metered() as cost:
        assert method(of).shape[1] == k
    handle.remove()
    forward, head = PASSES[named(method)]
    assert (cost.forward, cost.head, cost.backward) == (4 * forward, 4 * head, 0)
    # A head also shows its batch with another image, and checks itself on 4 + 1 activations.
    assert sum(counted) == 4 * (forward + head) + (6 if head else 0)
    assert max(counted) <= 16


@pytest.mark.parametrize("method", [ss_cam, rise], ids=named)
def test_noise_depends_on_the_seed_and_the_image(method: MapMethod) -> None:
    few = {"samples": 2} if method is ss_cam else {"masks": 20}
    of = record_of(curved_net(), images(3, *SIZE))
    first = with_options(method, **few)(of)
    assert torch.equal(with_options(method, **few, seed=0)(of), first)
    other = with_options(method, **few, seed=1)(of)
    assert ((other - first).abs().amax((1, 2, 3)) > 1e-3 * first.amax((1, 2, 3))).all()
    batch = images(1, *SIZE).expand(2, -1, -1, -1)
    twins = capture(
        curved_net(),
        batch,
        [Target("features")],
        Plan(),
        classes=BestClasses(1),
        image_ids=["one", "two"],
    )
    maps = with_options(method, **few)(twins)
    assert not torch.allclose(maps[0], maps[1], rtol=1e-3)


@pytest.mark.parametrize("method", METHODS, ids=named)
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_activations_without_contrast_give_finite_maps(method: MapMethod, value: float) -> None:
    net = curved_net(0)
    last = net.features[2]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, value)
    maps = method(record_of(net, images(3, *SIZE)))
    assert maps.isfinite().all()
    assert value != 0 or method not in LAYER_METHODS or not maps.any()


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_an_image_that_is_not_finite_does_not_change_other_maps(method: MapMethod) -> None:
    net, batch = curved_net(), images(3, *SIZE)
    expected = method(record_of(net, batch[1:], torch.tensor([[0], [1]])))
    batch[0, 0, 0, 0] = torch.nan
    maps = method(record_of(net, batch, torch.tensor([[0], [0], [1]])))
    torch.testing.assert_close(maps[1:], expected, rtol=1e-3, atol=1e-5)


class Sizes(TorchDispatchMode):
    """Records the size of the largest tensor that any operation makes."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.largest = max(self.largest, leaf.untyped_storage().nbytes() // 4)
        return result


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_only_the_masked_images_of_one_pass_are_in_memory(method: MapMethod) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(3, 400, 4, stride=16)
            self.fc = nn.Linear(400, 2)

        def forward(self, batch: Tensor) -> Tensor:
            return self.fc(self.features(batch).mean((2, 3)))

    of = record_of(Wide().eval(), torch.randn(2, 3, 64, 64), k=2)
    with Sizes() as sizes:
        method(of)
    assert sizes.largest <= 16 * 3 * 64 * 64  # 400 masks would be eight times as much


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_no_graph_is_kept(method: MapMethod) -> None:
    with torch.enable_grad():
        maps = method(record_of(curved_net(), images(1, *SIZE)))
    assert not maps.requires_grad


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (ss_cam, {"samples": 0}),
        (ss_cam, {"noise": -1}),
        (is_cam, {"steps": 0}),
        (rise, {"masks": 0}),
        (rise, {"cells": 0}),
        (rise, {"p1": 0}),
        (rise, {"p1": 1.5}),
        (occlusion, {"window": 0}),
        (occlusion, {"stride": 0}),
        (score_cam, {"seed": 0}),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_options_out_of_range_are_errors(method: MapMethod, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        with_options(method, **options)


def test_all_methods_are_registered_under_their_names() -> None:
    for method in (score_cam, ss_cam, is_cam, ablation_cam, rise, occlusion):
        assert cam_methods.get(method.name) is method
        assert method.paper
        assert not method.plan.gradients
        pixels = method in (rise, occlusion)
        assert (method.scope, method.classes) == (
            ("image", "label") if pixels else ("layer", "all")
        )


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_the_model_is_left_unchanged(method: MapMethod) -> None:
    net = build_network("DenseNet")
    of = record_of(net.train(), images(2, 32), k=2)
    with unchanged(net):
        method(of)


@pytest.mark.parametrize("where", ["features.conv0", "features", "classifier"])
@pytest.mark.parametrize("method", METHODS, ids=named)
def test_the_model_is_left_unchanged_also_when_it_fails(method: MapMethod, where: str) -> None:
    net = build_network("DenseNet")
    of = record_of(net.train(), images(2, 32), k=2)
    net.get_submodule(where).register_forward_hook(fail)
    with unchanged(net), pytest.raises(PluginError, match="out of luck"):
        method(of)
