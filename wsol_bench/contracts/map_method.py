"""The contract that a map method keeps, checked on two small networks that need no download.

A clause is a function; its name is the sentence that it checks. The networks are ShapesNet with its
trained weights on drawings of the embedded data set, and, for methods that it has not got what it
takes for (attention), a small vision transformer with random weights that are always the same.
"""

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from wsol_bench.capture import Plan, Record, capture
from wsol_bench.common.vocabulary import Verdict
from wsol_bench.datasets.shapes.loader import draw_sample
from wsol_bench.errors import NotApplicableError
from wsol_bench.images.preprocess import normalize
from wsol_bench.methods.base import MapMethod
from wsol_bench.models.classifiers import IMAGENET_MEAN, IMAGENET_STD, load_classifier
from wsol_bench.models.hooks import hooked
from wsol_bench.models.target_layers import Target, target_of

__all__ = ["CLAUSES", "Clause", "Verdict", "check"]

# Of a map's maximum. Networks give other float noise for other batches.
_TOLERANCE = 1e-4
# A map that is so much smaller than the largest is noise in its own units.
_SMALLEST = 1e-3
_IMAGE_IDS = ("shapes 0", "shapes 1")
_N_CLASSES = 16


def check(method: MapMethod) -> Iterator[Verdict]:
    """Check a map method clause by clause; a verdict comes as soon as it stands.

    What the method raises is a failed verdict, never an error of the check.
    """
    case = _Case(method, _convolutional())
    reason = _refusal(case)
    if reason is not None:
        yield Verdict("the small convolutional network has what it needs", None, reason)
        case = _Case(method, _transformer())
    passed = set[Callable[[_Case], None]]()
    for clause in CLAUSES:
        missing = next((other for other in clause.needs if other not in passed), None)
        if missing is None:
            verdict = _verdict(clause, case)
        else:
            because = f"not checked, as this does not hold: {_sentence(missing)}"
            verdict = Verdict(clause.sentence, None, because)
        if verdict.ok:
            passed.add(clause.holds)
        yield verdict


class _Broken(Exception):  # noqa: N818
    """A clause that does not hold; the message says what was expected and found."""


class _Senseless(Exception):  # noqa: N818
    """A clause that does not apply; the message says why."""


class _FailureError(RuntimeError):
    """A network that is made to fail raises this error."""


class _Setting(NamedTuple):
    """A network and a batch for it.

    Attributes:
        network: in evaluation mode; each question gets a copy.
        target: the table's layer.
        behind: a layer that runs later.
        images: normalized, two of them.
        classes: three slots an image. A class stands twice in the second, as the own class of an
            image does that is among the best.
        neighbors: the same, with other classes in all slots but the first.
    """

    network: nn.Module
    target: Target
    behind: Target
    images: Float32[Tensor, "2 3 height width"]
    classes: Int64[Tensor, "2 3"]
    neighbors: Int64[Tensor, "2 3"]


@dataclass(frozen=True)
class _Case:
    method: MapMethod
    setting: _Setting

    def network(self) -> nn.Module:
        """A copy that nobody has touched."""
        return copy.deepcopy(self.setting.network)

    def record(
        self,
        network: nn.Module | None = None,
        *,
        images: Tensor | None = None,
        ids: Sequence[str] = _IMAGE_IDS,
        targets: Sequence[Target] | None = None,
        plan: Plan | None = None,
        classes: Tensor | None = None,
    ) -> Record:
        """The pass as a run makes it; by default of the setting's batch."""
        return capture(
            self.network() if network is None else network,
            self.setting.images.clone() if images is None else images,
            [self.setting.target] if targets is None else targets,
            self.method.plan if plan is None else plan,
            classes=self.setting.classes if classes is None else classes,
            image_ids=ids,
        )

    @cached_property
    def first(self) -> "_First":
        """Make the maps of the setting's batch, to look at and to compare with."""
        record, before = self.record(), _generators()
        maps = self.method(record)
        changed = [name for name, state in _generators().items() if state != before[name]]
        return _First(record, maps, maps.detach().clone(), changed)

    @property
    def maps(self) -> Float[Tensor, "2 3 h w"]:
        """Return the maps that others are compared with."""
        return self.first.kept


class _First(NamedTuple):
    """The first call gave these maps, of which a copy stays, and moved these random numbers."""

    record: Record
    maps: Tensor
    kept: Tensor
    moved: list[str]


class Clause(NamedTuple):
    """A clause of the contract.

    Attributes:
        holds: raises where it does not.
        needs: those without which it says nothing.
    """

    holds: Callable[[_Case], None]
    needs: tuple[Callable[[_Case], None], ...] = ()

    @property
    def sentence(self) -> str:
        """The clause in words."""
        return _sentence(self.holds)


def _sentence(holds: Callable[[_Case], None]) -> str:
    return holds.__name__.replace("_", " ")


def _refusal(case: _Case) -> str | None:
    """Say why the method is not applicable; None where it is, or fails otherwise."""
    with _generators_kept():
        try:
            _ = case.maps
        except NotApplicableError as error:
            return str(error)
        except Exception:  # the clauses say so
            return None
    return None


def _verdict(clause: Clause, case: _Case) -> Verdict:
    with _generators_kept():
        try:
            clause.holds(case)
        except _Senseless as reason:
            return Verdict(clause.sentence, None, str(reason))
        except _Broken as broken:
            return Verdict(clause.sentence, False, str(broken))
        except Exception as error:  # whatever somebody's method raises
            return Verdict(clause.sentence, False, f"{type(error).__name__}: {error}")
    return Verdict(clause.sentence, True)


# ---- the clauses


def it_gives_a_map_of_each_class_slot(case: _Case) -> None:
    """A stack (batch, k, h, w), one axis for the height and then one for the width."""
    try:
        maps = case.first.maps
    except NotApplicableError as error:
        raise _Broken(f"expected one of the two small networks to do, found: {error}") from error
    height, width = case.setting.images.shape[-2:]
    expected = tuple(case.setting.classes.shape)
    if maps.ndim != 4 or tuple(maps.shape[:2]) != expected or 0 in maps.shape:
        _break(f"maps of shape ({expected[0]}, {expected[1]}, h, w)", tuple(maps.shape))
    h, w = maps.shape[-2:]
    if (h - w) * (height - width) < 0:
        _break(f"(h, w) as the input lies, which is {height} x {width}", f"{h} x {w}")


def maps_are_float32_and_detached(case: _Case) -> None:
    """They are stored and scored; a graph behind them would keep the whole pass in memory."""
    maps = case.first.maps
    if maps.dtype != torch.float32:
        _break("float32", maps.dtype)
    if maps.requires_grad:
        _break("maps without a graph behind them", "requires_grad=True")


def maps_are_finite(case: _Case) -> None:
    """A NaN has no maximum to cut the map at."""
    broken = (~case.maps.isfinite()).flatten(2).sum(-1)
    if broken.any():
        b, k = broken.nonzero()[0].tolist()
        n = int(broken[b, k])
        _break("numbers", f"{n} values that are none in the map of image {b}, slot {k}")


def not_every_map_is_constant(case: _Case) -> None:
    """A constant map says nothing of a place."""
    flat = case.maps.flatten(2)
    if bool((flat.amax(-1) == flat.amin(-1)).all()):
        _break("a map that is not the same everywhere", f"{float(flat[0, 0, 0])} at all places")


def called_again_it_gives_the_same_maps(case: _Case) -> None:
    """On the same record and on a new one: random numbers are those of ``Probe.noise``."""
    for what, record in (("the same", case.first.record), ("another", case.record())):
        # Numbers of the caller's generators are others by now; its own are not.
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        maps = case.method(record)
        if not _equal(case.maps, maps.detach()):
            _break(
                f"the same maps again, of {what} record of the same images",
                _difference(case.maps, maps) or "other bits",
            )


def random_numbers_of_the_caller_go_on_as_before(case: _Case) -> None:
    """Neither seeded nor drawn from: those of torch and NumPy.

    Python's own are drawn from by what checks types at run time (beartype), too.
    """
    if case.first.moved:
        moved = ", ".join(case.first.moved)
        _break("generators of its own (record.probe.noise)", f"those of {moved} moved")


def an_image_alone_has_the_map_that_it_has_in_a_batch(case: _Case) -> None:
    """Else results would depend on the batch size."""
    setting = case.setting
    for b in range(len(setting.images)):
        one = slice(b, b + 1)
        record = case.record(
            images=setting.images[one].clone(), ids=_IMAGE_IDS[one], classes=setting.classes[one]
        )
        _expect_same(case.maps[one], case.method(record), f"image {b} alone")


def the_order_of_class_slots_is_the_order_of_the_maps(case: _Case) -> None:
    """The slots of the record are put in another order, and so the maps must be."""
    order = torch.tensor([2, 0, 1])
    record = case.record(classes=case.setting.classes[:, order])
    _expect_same(case.maps[:, order], case.method(record), "slots in another order")
    asked = order.expand(len(case.setting.images), -1)
    maps = case.method(case.record(), asked)
    _expect_same(case.maps[:, order], maps, "slots asked for in another order")


def a_class_has_the_same_map_whatever_stands_beside_it(case: _Case) -> None:
    """Beside other classes, and where it alone is asked for, as costly methods are in a run."""
    first = case.maps[:, :1]
    beside = case.method(case.record(classes=case.setting.neighbors))[:, :1]
    _expect_same(first, beside, "slot 0 beside other classes")
    slots = torch.zeros_like(case.setting.classes[:, :1])
    _expect_same(first, case.method(case.record(), slots), "slot 0 alone")


def what_other_methods_record_beside_it_changes_nothing(case: _Case) -> None:
    """All methods share one pass: another may want gradients, or a layer further behind."""
    record = case.record(
        plan=case.method.plan | Plan(gradients=True),
        targets=[case.setting.target, case.setting.behind],
    )
    maps = case.method(record.at_layer(0))
    _expect_same(case.maps, maps, "record.at_layer(0) of two layers, with gradients")


def frozen_parameters_change_nothing(case: _Case) -> None:
    """Networks are often loaded with ``requires_grad_(False)``."""
    network = case.network().requires_grad_(False)
    _expect_same(case.maps, case.method(case.record(network)), "parameters frozen")


def it_works_where_gradients_are_switched_off(case: _Case) -> None:
    """The caller's ``torch.no_grad()``."""
    with torch.no_grad():
        maps = case.method(case.record())
    _expect_same(case.maps, maps, "under torch.no_grad()")


def it_works_in_inference_mode(case: _Case) -> None:
    """The caller's ``torch.inference_mode()``, images made there included."""
    network = case.network()
    with torch.inference_mode():
        maps = case.method(case.record(network, images=case.setting.images.clone()))
    with torch.no_grad():
        _expect_same(case.maps, maps.clone(), "under torch.inference_mode()")


def it_works_where_channels_lie_last_in_memory(case: _Case) -> None:
    """Channels lie last in a run by default: ``view`` may refuse what ``reshape`` accepts."""
    last = torch.channels_last
    network = case.network().to(memory_format=last)
    images = case.setting.images.clone(memory_format=last)
    _expect_same(case.maps, case.method(case.record(network, images=images)), "channels last")


def the_record_is_left_as_found(case: _Case) -> None:
    """The next method gets it: what works in place needs a copy."""
    record = case.record(plan=case.method.plan | Plan(gradients=True))
    before = _of_record(record)
    case.method(record)
    _expect_as_found(before, _of_record(record))


def the_network_is_left_as_found(case: _Case) -> None:
    """Weights, modes, requires_grad, .grad, hooks, attributes; the images; torch's own modes."""
    network, images = _touched(case.network()), case.setting.images.clone()
    before = _of_network(network, images)
    case.method(case.record(network, images=images))
    _expect_as_found(before, _of_network(network, images))


def a_network_that_fails_says_so_and_is_left_as_found(case: _Case) -> None:
    """An error in the middle, in the pass and in what the method asks, reaches the caller."""
    counted = case.network()
    with _failing(counted, at=None) as calls:
        record = case.record(counted)
        of_pass = calls[0]
        case.method(record)
        n = calls[0]
    for at in sorted({of_pass // 2 + 1, min(of_pass + 1, n), (of_pass + n) // 2, n}):
        network, images = _touched(case.network()), case.setting.images.clone()
        with _failing(network, at=at):
            before = _of_network(network, images)
            try:
                case.method(case.record(network, images=images))
            except Exception as error:
                if not _is_from_failure(error):
                    found = f"{type(error).__name__}: {error}"
                    _break("the error that the network raised", found)
            else:
                _break("the error that the network raised", "none")
            _expect_as_found(before, _of_network(network, images))


def where_it_generalizes_class_activation_mapping_it_agrees(case: _Case) -> None:
    """ReLU(CAM) up to a positive factor, of methods that say that they generalize CAM."""
    if not case.method.generalizes_cam:
        raise _Senseless("it does not say so (generalizes_cam=True)")
    record = case.record()
    if record.layer.class_weights is None:
        raise _Senseless("no global average pooling and linear layer follow here")
    cam = torch.einsum("bkc,bchw->bkhw", record.class_weights, record.activations).relu()
    maps = case.method(record)
    if cam.shape != maps.shape:
        _break(f"maps of shape {tuple(cam.shape)}", tuple(maps.shape))
    _expect_same(_in_units(cam), _in_units(maps), "in units of the maximum, as ReLU(CAM)")


_MAPS = (it_gives_a_map_of_each_class_slot,)
_STEADY = (*_MAPS, called_again_it_gives_the_same_maps)

CLAUSES = (
    Clause(it_gives_a_map_of_each_class_slot),
    Clause(maps_are_float32_and_detached, _MAPS),
    Clause(maps_are_finite, _MAPS),
    Clause(not_every_map_is_constant, _MAPS),
    Clause(called_again_it_gives_the_same_maps, _MAPS),
    Clause(random_numbers_of_the_caller_go_on_as_before, _STEADY),
    Clause(an_image_alone_has_the_map_that_it_has_in_a_batch, _STEADY),
    Clause(the_order_of_class_slots_is_the_order_of_the_maps, _STEADY),
    Clause(a_class_has_the_same_map_whatever_stands_beside_it, _STEADY),
    Clause(what_other_methods_record_beside_it_changes_nothing, _STEADY),
    Clause(frozen_parameters_change_nothing, _STEADY),
    Clause(it_works_where_gradients_are_switched_off, _STEADY),
    Clause(it_works_in_inference_mode, (*_STEADY, it_works_where_gradients_are_switched_off)),
    Clause(it_works_where_channels_lie_last_in_memory, _STEADY),
    Clause(the_record_is_left_as_found, _MAPS),
    Clause(the_network_is_left_as_found, _MAPS),
    Clause(
        a_network_that_fails_says_so_and_is_left_as_found, (*_MAPS, the_network_is_left_as_found)
    ),
    Clause(where_it_generalizes_class_activation_mapping_it_agrees, _STEADY),
)


# ---- the settings


@cache
def _convolutional() -> _Setting:
    # Neither side is the other: a map that lies on its side is found.
    images, labels = _drawings(64, 96)
    network = load_classifier("shapes_net").module
    return _Setting(network, target_of(network), Target("pool"), images, *_slots(labels))


@cache
def _transformer() -> _Setting:
    from torchvision.models import VisionTransformer

    images, labels = _drawings(64, 64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VisionTransformer(64, 16, 2, 2, 32, 64, num_classes=_N_CLASSES).eval()
        nn.init.normal_(network.heads[-1].weight)  # torchvision's is zero: no score, no gradient
    behind = Target("encoder.ln", layout="tokens")
    return _Setting(network, target_of(network), behind, images, *_slots(labels))


def _drawings(height: int, width: int) -> tuple[Float32[Tensor, "2 3 height width"], list[int]]:
    drawn = [draw_sample(0, "val", index) for index in range(len(_IMAGE_IDS))]
    resized = [
        np.array(Image.fromarray(drawing.image).resize((width, height))) for _, drawing in drawn
    ]
    pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).contiguous()
    return normalize(pixels, IMAGENET_MEAN, IMAGENET_STD), [label for label, _ in drawn]


def _slots(labels: Sequence[int]) -> tuple[Int64[Tensor, "2 3"], Int64[Tensor, "2 3"]]:
    first, second = labels
    beside = [(label + step) % _N_CLASSES for label, step in ((first, 3), (first, 7), (second, 5))]
    classes = torch.tensor([[first, *beside[:2]], [second, second, beside[2]]])
    return classes, torch.cat([classes[:, :1], (classes[:, :1] + torch.tensor([1, 9])) % 16], 1)


# ---- what is compared


def _break(expected: object, found: object) -> NoReturn:
    raise _Broken(f"expected {expected}; found {found}")


def _in_units(maps: Tensor) -> Tensor:
    return maps / maps.amax((2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def _expect_same(expected: Tensor, found: Tensor, where: str) -> None:
    difference = _difference(expected, found)
    if difference:
        _break(f"the same maps, {where}", difference)


def _difference(expected: Tensor, found: Tensor) -> str:
    """Say where maps differ, and by how much; "" where they do not."""
    if expected.shape != found.shape:
        return f"shape {tuple(found.shape)} instead of {tuple(expected.shape)}"
    expected, found = expected.detach().double(), found.detach().double()
    # A NaN is another clause's.
    equal = (expected == found) | (expected.isnan() & found.isnan())
    sizes = expected.nan_to_num(0, 0, 0).abs().amax((2, 3), keepdim=True)
    sizes = sizes.clamp(min=max(float(sizes.max()) * _SMALLEST, torch.finfo(torch.float32).tiny))
    off = torch.where(equal, 0, ((expected - found) / sizes).abs()).nan_to_num(torch.inf)
    worst = off.amax((2, 3))
    if float(worst.max()) <= _TOLERANCE:
        return ""
    b, k = divmod(int(worst.argmax()), worst.shape[1])
    return f"a map that differs by {float(worst.max()):.2g} of its maximum (image {b}, slot {k})"


def _expect_as_found(before: dict[str, Any], after: dict[str, Any]) -> None:
    changed = [
        f"{name}: {_short(before.get(name))} became {_short(after.get(name))}"
        for name in {**before, **after}
        if not _equal(before.get(name), after.get(name))
    ]
    if changed:
        more = f", and {len(changed) - 3} more" if len(changed) > 3 else ""
        _break("all as it was", "; ".join(changed[:3]) + more)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        same = one.shape == other.shape and one.dtype == other.dtype
        return same and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    return type(one) is type(other) and bool(one == other)


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of sum {float(value.double().sum()):.6g}"
    return repr(value)


def _generators() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy.random": (name, np.asarray(keys).tolist(), *rest),
    }


@contextmanager
def _generators_kept() -> Iterator[None]:
    """The caller's random numbers are as they were, whatever a method draws."""
    of_numpy, of_python = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(of_numpy)
        random.setstate(of_python)


def _of_record(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = {"logits": record.logits.clone(), "classes": record.classes.clone()}
    for layer in record.layers:
        for name in ("activations", "gradients", "class_weights"):
            value = getattr(layer, name)
            found[name] = None if value is None else value.clone()
            found[f"{name}.requires_grad"] = None if value is None else value.requires_grad
    return found


def _touched(network: nn.Module) -> nn.Module:
    """The network with some of everything that may be found: modes, frozen weights, gradients."""
    for number, module in enumerate(network.modules()):
        module.training = number % 2 == 0
    first, second, *_ = network.parameters()
    first.grad = torch.ones_like(first)
    second.requires_grad_(False)
    return network


# What holds hooks, of a module and of all modules.
_HOOKS = [name for name in vars(nn.Module()) if name.endswith("_hooks")]
_GLOBAL_HOOKS = [name for name in vars(torch_module) if name.endswith("_hooks")]


def _of_network(network: nn.Module, images: Tensor) -> dict[str, Any]:
    found: dict[str, Any] = {
        "torch.is_grad_enabled()": torch.is_grad_enabled(),
        "torch.is_inference_mode_enabled()": torch.is_inference_mode_enabled(),
        "torch.get_default_dtype()": torch.get_default_dtype(),
        "function modes": torch._C._len_torch_function_stack(),
        "images": images.detach().clone(),
        "images.requires_grad": images.requires_grad,
        "images.grad": images.grad,
    }
    for name in _GLOBAL_HOOKS:
        found[f"hooks of all modules ({name})"] = _values(getattr(torch_module, name))
    for path, module in network.named_modules():
        where = path or "the network"
        found[f"{where} itself"] = id(module)
        for name, value in vars(module).items():
            if name in _HOOKS:
                found[f"{where}.{name}"] = _values(value)
            elif name == "forward":
                found[f"{where}.forward"] = id(value)
            elif isinstance(value, bool | int | float | str):
                found[f"{where}.{name}"] = value
    for name, value in (*network.named_parameters(), *network.named_buffers()):
        found[name] = value.detach().clone()
        found[f"{name}.requires_grad"] = value.requires_grad
        found[f"{name}.grad"] = None if value.grad is None else value.grad.clone()
    return found


def _values(hooks: Any) -> list[str]:
    """Name the hooks of a table; tables of options beside it hold plain values."""
    return [getattr(hook, "__qualname__", repr(hook)) for hook in dict(hooks).values()]


@contextmanager
def _failing(network: nn.Module, *, at: int | None) -> Iterator[list[int]]:
    """The network fails at the n-th call of a module without children; counts the calls."""
    calls = [0]

    def count(module: nn.Module, inputs: Any) -> None:
        calls[0] += 1
        if calls[0] == at:
            raise _FailureError(f"the network fails at call {at}, on purpose")

    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    with hooked(before=[(module, count) for module in leaves]):
        yield calls


def _is_from_failure(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, _FailureError):
            return True
        error = error.__cause__ or error.__context__
    return False
