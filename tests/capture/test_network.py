"""A network is run alone, as it is evaluated, on a copy, in its own format; or it is refused."""

import threading
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from networks import images, seeded
from torch import Tensor, nn
from traces import unchanged

from wsol_bench import localization_maps
from wsol_bench.capture import BestClasses, Plan, capture
from wsol_bench.common.catalog import METHODS
from wsol_bench.errors import ModelError, NotApplicableError
from wsol_bench.methods.base import cam_methods
from wsol_bench.models.target_layers import Target

SIDE = 32
# Options that keep a test short.
FEW = {
    "smooth_grad": {"samples": 2}, "smooth_grad_cam_pp": {"samples": 2}, "rise": {"masks": 4},
    "ss_cam": {"samples": 2}, "is_cam": {"steps": 2}, "integrated_gradients": {"steps": 2},
    "occlusion": {"window": 16, "stride": 16},
    "excitation_bp": {"map_layer": "features"}, "c_mwp": {"map_layer": "features"},
}  # fmt: skip


class Plain(nn.Module):
    """Two convolutions, global average pooling and a linear layer."""

    def __init__(self, normalization: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), normalization(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1),
            nn.ReLU(),
        )  # fmt: skip
        self.fc = nn.Linear(16, 6)

    def forward(self, batch: Tensor) -> Tensor:
        return self.fc(self.features(batch).mean((2, 3)))


def maps_of(net: nn.Module, batch: Tensor, name: str, **options: object) -> Tensor:
    method = cam_methods.get(name).with_options(FEW.get(name, {}), name)
    maps = localization_maps(
        net, batch, method, targets=[1, 4], layer="features", head="fc", **options
    )
    return maps[method.name]


# ---- batch statistics and chance


class NeverEval(nn.Dropout):
    def train(self, mode: bool = True) -> "NeverEval":
        return super().train(True)


class BatchMean(nn.Module):
    """Normalizes by the mean of the batch, as no module of torch does."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps - maps.mean((0, 2, 3), keepdim=True)


class FunctionalDropout(Plain):
    def forward(self, batch: Tensor) -> Tensor:
        return self.fc(F.dropout(self.features(batch).mean((2, 3)), 0.5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Plain(lambda c: nn.BatchNorm2d(c, track_running_stats=False)),
            r"Plain: module 'features.1' \(BatchNorm2d\) has no running statistics",
        ),
        (
            lambda: Plain(lambda c: NeverEval()),
            r"Plain: module 'features.1' \(NeverEval\) stays in training mode",
        ),
        (lambda: Plain(lambda c: BatchMean()), "in two batches differ by"),
        (FunctionalDropout, "random in evaluation mode"),
    ],
    ids=["batch normalization", "training mode", "own statistics", "functional dropout"],
)
@pytest.mark.parametrize("method", ["grad_cam", "eigen_cam"])
def test_a_network_whose_images_see_each_other_is_refused(
    make: Callable[[], nn.Module], message: str, method: str
) -> None:
    net = seeded(make).train()
    with unchanged(net), pytest.raises(ModelError, match=message):
        maps_of(net, images(3, SIDE), method)


@pytest.mark.parametrize("normalization", [nn.InstanceNorm2d, lambda c: nn.GroupNorm(2, c)])
def test_statistics_of_one_image_are_no_statistics_of_a_batch(
    normalization: Callable[[int], nn.Module],
) -> None:
    net, batch = seeded(lambda: Plain(normalization)), images(3, SIDE)
    together = maps_of(net, batch, "grad_cam")
    alone = torch.cat([maps_of(net, image[None], "grad_cam") for image in batch])
    torch.testing.assert_close(together, alone)


def test_gradients_in_a_batch_are_those_of_single_images() -> None:
    net, batch = seeded(Plain), images(3, SIDE)
    slots = BestClasses(2)
    together = capture(net, batch, [Target("features")], Plan(gradients=True), classes=slots)
    for position, image in enumerate(batch):
        alone = capture(net, image[None], [Target("features")], Plan(True), classes=slots)
        torch.testing.assert_close(alone.gradients[0], together.gradients[position])


# ---- the caller's tensor


class NormalizesInPlace(Plain):
    def forward(self, batch: Tensor) -> Tensor:
        return super().forward(batch.sub_(0.5).div_(2.0))


@pytest.mark.parametrize("name", [name for name in METHODS if "/" not in name])
def test_no_method_changes_the_callers_images(name: str) -> None:
    net, batch = seeded(NormalizesInPlace), images(2, SIDE)
    given = batch.clone()
    try:
        first = maps_of(net, batch, name)
    except NotApplicableError:
        assert name in {
            "acol", "attention_rollout", "le_grad", "transformer_attribution", "ts_cam",
        }  # fmt: skip
    else:
        assert torch.equal(maps_of(net, batch, name), first)
    assert torch.equal(batch, given)


# ---- formats


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["grad_cam", "ablation_cam", "shapley_cam", "finer_cam",
                                  "score_cam", "rise", "smooth_grad", "cam"])  # fmt: skip
def test_maps_of_a_network_of_another_format_are_close(name: str, dtype: torch.dtype) -> None:
    batch = images(2, SIDE)
    exact = maps_of(seeded(Plain), batch, name)
    net = seeded(Plain).to(dtype)
    for given in (batch, batch.to(dtype).to(batch.dtype)):
        maps = maps_of(net, given, name)
        assert maps.dtype == torch.float32
        if name in {"rise", "smooth_grad"} and given is not batch:
            continue  # their random numbers depend on the image's digest
        close = 1e-4 if dtype is torch.float64 else 0.1
        assert float((maps - exact).abs().max() / exact.abs().max()) < close
    maps_of(net, batch.to(dtype), name)


@pytest.mark.parametrize("name", ["grad_cam", "ablation_cam", "backprop", "score_cam", "hires_cam"])
def test_fp32_is_honored_within_a_callers_autocast(name: str) -> None:
    net, batch = seeded(Plain), images(2, SIDE)
    expected = maps_of(net, batch, name)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(maps_of(net, batch, name), expected)


# ---- threads


def test_threads_take_turns_with_one_network() -> None:
    net, batch = seeded(Plain), images(2, SIDE)
    names = ["grad_cam", "shapley_cam", "backprop", "ablation_cam"]
    expected = {name: maps_of(net, batch, name) for name in names}
    found: list[bool] = []

    def ask(name: str) -> None:
        found.extend(torch.equal(maps_of(net, batch, name), expected[name]) for _ in range(5))

    threads = [threading.Thread(target=ask, args=(name,)) for name in names * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 5 * len(threads)
