"""More networks that were made to get a wrong map past the checks: each is right or refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks import StemAndHead, images, seeded
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from wsol_bench import localization_maps
from wsol_bench.errors import ModelError, NotApplicableError

# ---- what a module leaves for another one


class Leaves(StemAndHead):
    """The stem leaves a tensor in an attribute, which is read behind the layer."""

    class Stem(nn.Conv2d):
        def forward(self, batch: Tensor) -> Tensor:
            found = super().forward(batch)
            self.left = found.mean((2, 3))
            return found

    def __init__(self) -> None:
        super().__init__(self.Stem(3, 12, 4, 4))

    def forward(self, batch: Tensor) -> Tensor:
        found = self.f(self.stem(batch)).mean((2, 3))
        return self.fc(found * (1 + self.stem.left))


class LeavesForAnyNumber(Leaves):
    def forward(self, batch: Tensor) -> Tensor:
        found = self.f(self.stem(batch)).mean((2, 3))
        image = torch.arange(len(found)) % len(self.stem.left)
        return self.fc(found * (1 + self.stem.left[image]))


class LeavesTheNumberOfImages(StemAndHead):
    """The layer's rows are put together again by a number that the stem left."""

    class Stem(nn.Conv2d):
        def forward(self, batch: Tensor) -> Tensor:
            self.n = len(batch)
            return super().forward(batch)

    def __init__(self) -> None:
        super().__init__(self.Stem(3, 12, 4, 4))

    def forward(self, batch: Tensor) -> Tensor:
        found = self.f(self.stem(batch)).mean((2, 3))
        return self.fc(found.reshape(self.stem.n, -1, 12).mean(1))


@pytest.mark.parametrize("n_images", [1, 2])
@pytest.mark.parametrize("make", [Leaves, LeavesForAnyNumber, LeavesTheNumberOfImages])
@pytest.mark.parametrize("name", ["ablation_cam", "shapley_cam"])
def test_what_a_module_leaves_behind_for_another_one_is_refused(
    make: Callable[[], nn.Module], n_images: int, name: str
) -> None:
    with pytest.raises(ModelError, match="cannot be run alone"):
        localization_maps(seeded(make), images(n_images, 32), name, layer="f", k=1)


# ---- a network's own autograd functions


class Cube(Function):
    """The third power, whose backward can be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * cotangent


class Detached(Cube):
    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x.detach() ** 2 * cotangent


class Once(Cube):
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        return Cube.backward(ctx, cotangent)


class SavesTheSlope(Cube):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(3 * x**2)
        return x**3

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        return ctx.saved_tensors[0] * cotangent


class DetachesTheCotangent(Cube):
    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        return Cube.backward(ctx, cotangent.detach())


class LeavesTheGraph(Function):
    """Linear, with a backward that leaves the graph, as one in CUDA does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        return 2 * cotangent.detach()


class Rectifies(Function):
    """A ReLU in place, in the newer form of a function."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.relu_()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.mark_dirty(output)
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        return cotangent * (ctx.saved_tensors[0] > 0)


class Reverses(Function):
    """Reverses the gradient, and scales it by a number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * cotangent, None


class Applies(StemAndHead):
    def __init__(self, apply: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.apply_to = apply

    def forward(self, batch: Tensor) -> Tensor:
        maps = self.apply_to(self.f(self.stem(batch)) - 0.2)
        return self.fc(maps.mean((2, 3))).sigmoid()


@pytest.mark.parametrize(
    "function", [Detached, Once, SavesTheSlope, DetachesTheCotangent, LeavesTheGraph]
)
def test_a_function_with_a_wrong_second_derivative_is_refused(function: type[Function]) -> None:
    net, parts = seeded(lambda: Applies(function.apply)), dict(vars(function))
    for _ in range(2):
        with pytest.raises(NotApplicableError, match=rf"'f', Applies runs {function.__name__},"):
            localization_maps(net, images(2, 32), "shapley_cam", layer="f", k=1)
    assert dict(vars(function)) == parts


class Scales(Function):
    """A swish whose scale has a default value, in the newer form of a function."""

    @staticmethod
    def forward(x: Tensor, scale: float = 2.0) -> Tensor:
        return scale * x * x.sigmoid()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, ctx.scale = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        gate = x.sigmoid()
        return ctx.scale * cotangent * (gate + x * gate * (1 - gate)), None


@pytest.mark.parametrize(
    ("own", "plain"),
    [
        (Cube.apply, lambda x: x**3),
        (Scales.apply, lambda x: 2 * x * x.sigmoid()),
        (Rectifies.apply, lambda x: (x - 0).relu()),
        (lambda x: Reverses.apply(x, 0.5), lambda x: x * -0.5 + 1.5 * x.detach()),
        (lambda x: Cube.apply(Reverses.apply(x, -1.0)), lambda x: x**3),
    ],
    ids=["cube", "swish", "rectifier", "reversal", "two"],
)
def test_a_function_with_a_second_derivative_has_its_map(
    own: Callable[[Tensor], Tensor], plain: Callable[[Tensor], Tensor]
) -> None:
    found, expected = (
        localization_maps(
            seeded(lambda apply=apply: Applies(apply)), images(2, 32), "shapley_cam", layer="f", k=5
        )["shapley_cam"]
        for apply in (own, plain)
    )
    assert bool(expected.any())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


# ---- float16


class LargeLogits(StemAndHead):
    """Head weights that are larger than float16 holds after scaling, and a small one."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.fc.weight[:4] *= 3000
            self.fc.weight[4] *= 1e-4


@pytest.mark.parametrize("precision", ["fp16", "half"])
@pytest.mark.parametrize("name", ["grad_cam", "shapley_cam", "finer_cam", "backprop"])
def test_large_logits_in_float16_have_finite_gradients(name: str, precision: str) -> None:
    exact, net = seeded(LargeLogits), seeded(LargeLogits)
    net = net.half() if precision == "half" else net
    batch, at = images(2, 32), {"layer": "f", "targets": [1, 4]}
    expected = localization_maps(exact, batch, name, **at)[name]
    maps = localization_maps(
        net, batch, name, **at, precision="fp16" if precision == "fp16" else "fp32"
    )[name]
    scale = expected.amax((2, 3), keepdim=True)
    assert bool((scale > 0).all())
    torch.testing.assert_close(maps / scale, expected / scale, rtol=1e-2, atol=1e-2)


# ---- gradients


class Looks(Cube):
    """A backward that looks at values, as no batch of cotangents allows."""

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        if float(cotangent.abs().max()) == 0:
            return torch.zeros_like(cotangent)
        return Cube.backward(ctx, cotangent)


class CallsAnother(Cube):
    """A backward by another function, without a rule for a batch."""

    class Slope(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, cotangent: Tensor) -> Tensor:
            return torch.from_numpy(3 * x.numpy() ** 2 * cotangent.numpy())

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        return CallsAnother.Slope.apply(*ctx.saved_tensors, cotangent)


@pytest.mark.parametrize("function", [Looks, CallsAnother, LeavesTheGraph])
@pytest.mark.parametrize("name", ["grad_cam", "finer_cam", "backprop"])
def test_a_function_that_takes_no_batch_of_cotangents_takes_them_one_by_one(
    function: type[Function], name: str
) -> None:
    plain = (lambda x: 2 * x) if function is LeavesTheGraph else (lambda x: x**3)
    found, expected = (
        localization_maps(
            seeded(lambda apply=apply: Applies(apply)), images(2, 32), name, layer="f", k=5
        )[name]
        for apply in (function.apply, plain)
    )
    assert bool(expected.any())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


class SwitchesGradientsOff(StemAndHead):
    def forward(self, batch: Tensor) -> Tensor:
        with torch.set_grad_enabled(False):
            maps = self.f(self.stem(batch))
        return self.fc(maps.mean((2, 3)))


@pytest.mark.parametrize("name", ["grad_cam", "layer_cam", "backprop"])
def test_a_network_that_switches_gradients_off_is_refused_with_that_reason(name: str) -> None:
    net = seeded(SwitchesGradientsOff)
    with pytest.raises(ModelError, match=r"SwitchesGradientsOff .*no_grad, set_grad_enabled"):
        localization_maps(net, images(2, 32), name, layer="f", k=1)


@pytest.mark.parametrize("name", ["finer_cam", "shapley_cam"])
def test_gradients_that_are_switched_off_before_the_head_do_not_matter_to_it(name: str) -> None:
    found, expected = (
        localization_maps(seeded(make), images(2, 32), name, layer="f", k=2)[name]
        for make in (SwitchesGradientsOff, StemAndHead)
    )
    assert bool(expected.any())
    torch.testing.assert_close(found, expected)


# ---- hooks of the user


def halves_output(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output / 2 - 0.1


def halves_input(module: nn.Module, inputs: Any) -> tuple[Tensor]:
    return (inputs[0] / 2 - 0.1,)


class PassesAround(StemAndHead):
    """What the stem returns, and the image itself, are read behind the layer."""

    def forward(self, batch: Tensor) -> Tensor:
        maps = self.stem(batch)
        return self.fc((self.f(maps) + maps * batch.mean((1, 2, 3), keepdim=True)).mean((2, 3)))


class Halved(nn.Module):
    """A module that does itself what the hooks do."""

    def __init__(self, module: nn.Module, *, before: bool) -> None:
        super().__init__()
        self.module, self.before = module, before

    def forward(self, batch: Tensor) -> Tensor:
        if self.before:
            return self.module(*halves_input(self, (batch,)))
        return halves_output(self, (), self.module(batch))


@pytest.mark.parametrize("at", ["", "stem", "f", "fc"])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("name", ["ablation_cam", "shapley_cam"])
def test_a_hook_that_changes_what_a_module_takes_or_returns_counts_once(
    name: str, before: bool, at: str
) -> None:
    hooked_net, net = seeded(PassesAround), seeded(PassesAround)
    module = hooked_net.get_submodule(at)
    if before:
        module.register_forward_pre_hook(halves_input)
    else:
        module.register_forward_hook(halves_output)
    if at:
        setattr(net, at, Halved(net.get_submodule(at), before=before))
        layer = "f"
    else:
        net, layer = Halved(net, before=before), "module.f"
    found, expected = (
        localization_maps(network, images(2, 32), name, layer=layer, k=2)[name]
        for network, layer in ((hooked_net, "f"), (net, layer))
    )
    assert bool(expected.any())
    torch.testing.assert_close(found, expected)
