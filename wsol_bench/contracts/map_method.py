"""The contract of a map method: its clauses, checked on small networks without any download."""

import random
from collections.abc import Iterator

import numpy as np
import torch

from wsol_bench.capture import Plan
from wsol_bench.contracts.comparison import (
    equal,
    expect_same_maps,
    expect_unchanged,
    in_units_of_maximum,
    map_difference,
)
from wsol_bench.contracts.measured_values import measures_its_maps
from wsol_bench.contracts.snapshots import (
    generators_restored,
    network_snapshot,
    record_snapshot,
)
from wsol_bench.contracts.toy_networks import (
    IMAGE_IDS,
    MethodCase,
    comes_from_failure,
    failing,
    small_convolutional_network,
    small_network_of_two_branches,
    small_token_semantic_transformer,
    small_transformer,
    with_mixed_states,
)
from wsol_bench.contracts.verdict import (
    BrokenClauseError,
    Clause,
    InapplicableClauseError,
    OddClauseError,
    Verdict,
    clause,
    fail,
    verdicts_of,
)
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.base import MapMethod

__all__ = ["CLAUSES", "check_map_method"]

# The networks that take the place of the convolutional one, in this order, by their names.
_OTHERS = {
    "small vision transformer": small_transformer,
    "small transformer with a class convolution": small_token_semantic_transformer,
    "small network of two branches": small_network_of_two_branches,
}

# A map is normalized if its extrema are within this of 0 and 1: a division rounds.
_ROUNDING = 1e-5


def check_map_method(method: MapMethod) -> Iterator[Verdict]:
    """Check a map method clause by clause; each verdict is yielded as soon as it is known.

    Any exception that the method raises is a failed verdict, never an error of the check. The
    caller's random number generators are restored.
    """
    case, name = MethodCase(method, small_convolutional_network()), "small convolutional network"
    for other, network in _OTHERS.items():
        reason = _inapplicable(case)
        if reason is None:
            break
        yield Verdict(f"it applies to the {name}", None, f"{reason}; a {other} takes its place")
        case, name = MethodCase(method, network()), other
    clauses = [*CLAUSES, *([measures_its_maps] if method.columns else [])]
    yield from verdicts_of(clauses, case, around=generators_restored)


def _inapplicable(case: MethodCase) -> str | None:
    """Return why the method does not apply to the network; None if it applies or fails."""
    with generators_restored():
        try:
            _ = case.maps
        except NotApplicableError as error:
            return str(error)
        except Exception:  # the first clause reports it
            return None
    return None


@clause("it returns one map for each class slot")
def has_a_map_per_slot(case: MethodCase) -> None:
    """Maps are a stack (batch, k, h, w), with an axis for the height before that for the width."""
    try:
        maps = case.first_call.maps
    except NotApplicableError as error:
        raise BrokenClauseError(
            f"expected a method that applies to one of the small networks; found: {error}"
        ) from error
    height, width = case.toy.images.shape[-2:]
    batch, k = case.toy.classes.shape
    if maps.ndim != 4 or tuple(maps.shape[:2]) != (batch, k) or 0 in maps.shape:
        fail(f"maps of shape ({batch}, {k}, h, w)", tuple(maps.shape))
    h, w = maps.shape[-2:]
    if (h - w) * (height - width) < 0:
        fail(f"maps with the orientation of the input, {height} x {width} (h x w)", f"{h} x {w}")


@clause("maps are float32 and detached from the graph", has_a_map_per_slot)
def is_float32_and_detached(case: MethodCase) -> None:
    """Maps are stored and scored; a graph behind them would keep the whole pass in memory."""
    maps = case.first_call.maps
    if maps.dtype != torch.float32:
        fail("float32", maps.dtype)
    if maps.requires_grad:
        fail("maps that are detached from the graph", "requires_grad=True")


@clause("maps hold no NaN and no infinity", has_a_map_per_slot)
def is_finite(case: MethodCase) -> None:
    """A map with a NaN has no maximum, and so no threshold."""
    n_bad = (~case.maps.isfinite()).flatten(2).sum(-1)
    if n_bad.any():
        b, k = n_bad.nonzero()[0].tolist()
        n = int(n_bad[b, k])
        fail("finite values", f"{n} NaN or infinite values in the map of image {b}, slot {k}")


@clause("at least one map is not constant", has_a_map_per_slot)
def is_not_constant(case: MethodCase) -> None:
    """A constant map does not localize."""
    flat = case.maps.flatten(2)
    if bool((flat.amax(-1) == flat.amin(-1)).all()):
        fail("a map whose values differ", f"{float(flat[0, 0, 0])} everywhere")
    # Slot 0 holds the label; a map of another class may well be zero.
    low, high = flat[:, 0].amin(-1), flat[:, 0].amax(-1)
    counts = {
        "constant": int(((low == high) & (high > 0)).sum()),
        "zero everywhere": int(((low == 0) & (high == 0)).sum()),
        "without a positive value": int(((high <= 0) & ((low != 0) | (high != 0))).sum()),
    }
    odd = [f"{count} {what}" for what, count in counts.items() if count]
    if odd:
        raise OddClauseError(
            f"of {high.numel()} maps of labels {', '.join(odd)}: most protocols take no box of "
            "such maps"
        )


@clause("maps are neither upsampled nor normalized", has_a_map_per_slot, is_finite)
def is_as_it_was_made(case: MethodCase) -> None:
    """Upsampling and the scale of a map are the protocol's: done twice, they change its boxes."""
    maps = case.maps
    size, grid = maps.shape[-2:], case.first_call.record.activations.shape[-2:]
    odd = []
    if case.method.scope == "layer" and size == case.toy.images.shape[-2:] != grid:
        odd.append(
            f"maps have the size of the input, {size[0]} x {size[1]}, and the layer has {grid[0]} "
            f"x {grid[1]} positions; return them at the layer's size (or say scope='image')"
        )
    low, high = maps.flatten(2).amin(-1), maps.flatten(2).amax(-1)
    if bool((((high - 1).abs() < _ROUNDING) & (low.abs() < _ROUNDING)).all()):
        odd.append("each map has the minimum 0 and the maximum 1; return it in the paper's scale")
    if odd:
        raise OddClauseError("; ".join(odd))


@clause("a second call gives the same maps", has_a_map_per_slot)
def is_repeatable(case: MethodCase) -> None:
    """Call the method on the same record and on a new one: both give the same maps.

    Random numbers come from ``record.probe.noise``.
    """
    records = {"the same record": case.first_call.record, "a new record": case.record()}
    for name, record in records.items():
        # The global generators get another state; the record's generators keep theirs.
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        maps = case.method.maps(record)
        if not equal(case.maps, maps.detach()):
            fail(
                f"the same maps from a second call, on {name} of the same images",
                map_difference(case.maps, maps) or "maps that differ in their last bits",
            )


@clause(
    "it neither seeds nor draws from the global random number generators",
    has_a_map_per_slot,
    is_repeatable,
)
def leaves_the_generators(case: MethodCase) -> None:
    """The generators of torch and NumPy belong to the caller."""
    if case.first_call.changed_generators:
        changed = " and ".join(case.first_call.changed_generators)
        fail(
            "random numbers from record.probe.noise alone",
            f"a changed state of the global generator of {changed}",
        )


@clause("an image has the same map alone as in a batch", has_a_map_per_slot, is_repeatable)
def is_independent_of_the_batch(case: MethodCase) -> None:
    """Each image alone has the same map as in the batch.

    Otherwise results would depend on the batch size.
    """
    for b in range(len(case.toy.images)):
        image = slice(b, b + 1)
        record = case.record(
            images=case.toy.images[image].clone(),
            ids=IMAGE_IDS[image],
            classes=case.toy.classes[image],
        )
        expect_same_maps(case.maps[image], case.method.maps(record), f"for image {b} alone")


@clause("maps are in the order of the class slots", has_a_map_per_slot, is_repeatable)
def follows_the_slots(case: MethodCase) -> None:
    """Class slots in another order give the same maps in that order."""
    order = torch.tensor([2, 0, 1])
    record = case.record(classes=case.toy.classes[:, order])
    expect_same_maps(
        case.maps[:, order], case.method.maps(record), "for class slots in another order"
    )
    slots = order.expand(len(case.toy.images), -1)
    maps = case.method.maps(case.record(), slots)
    expect_same_maps(case.maps[:, order], maps, "for slots selected in another order")


@clause("a class has the same map beside any other class slots", has_a_map_per_slot, is_repeatable)
def is_independent_of_other_classes(case: MethodCase) -> None:
    """Slot 0 has the same map beside other classes, and as the only slot.

    Runs call costly methods for one slot alone.
    """
    first = case.maps[:, :1]
    beside = case.method.maps(case.record(classes=case.toy.other_classes))[:, :1]
    expect_same_maps(first, beside, "for slot 0 beside other classes")
    slots = torch.zeros_like(case.toy.classes[:, :1])
    expect_same_maps(first, case.method.maps(case.record(), slots), "for slot 0 alone")


@clause(
    "recording gradients or a later layer for other methods does not change its maps",
    has_a_map_per_slot,
    is_repeatable,
)
def is_independent_of_other_methods(case: MethodCase) -> None:
    """All methods of a run share one forward pass, which records what any of them needs."""
    record = case.record(
        plan=case.method.plan | Plan(gradients=True),
        targets=[case.toy.target, case.toy.later_target],
    )
    maps = case.method.maps(record.at_layer(0))
    expect_same_maps(
        case.maps, maps, "from record.at_layer(0) of two layers, recorded with gradients"
    )


@clause("frozen parameters do not change its maps", has_a_map_per_slot, is_repeatable)
def works_with_frozen_parameters(case: MethodCase) -> None:
    """Networks are often loaded with ``requires_grad_(False)``."""
    network = case.network().requires_grad_(False)
    expect_same_maps(case.maps, case.method.maps(case.record(network)), "with frozen parameters")


@clause("torch.no_grad() does not change its maps", has_a_map_per_slot, is_repeatable)
def works_without_gradients(case: MethodCase) -> None:
    """The caller may have switched gradients off."""
    with torch.no_grad():
        maps = case.method.maps(case.record())
    expect_same_maps(case.maps, maps, "under torch.no_grad()")


@clause(
    "torch.inference_mode() does not change its maps",
    has_a_map_per_slot,
    is_repeatable,
    works_without_gradients,
)
def works_in_inference_mode(case: MethodCase) -> None:
    """The caller may be in inference mode; the images are then made there, too."""
    network = case.network()
    with torch.inference_mode():
        maps = case.method.maps(case.record(network, images=case.toy.images.clone()))
    with torch.no_grad():
        expect_same_maps(case.maps, maps.clone(), "under torch.inference_mode()")


@clause("channels_last memory does not change its maps", has_a_map_per_slot, is_repeatable)
def works_in_channels_last(case: MethodCase) -> None:
    """Runs use this memory format by default; ``view`` may refuse what ``reshape`` accepts."""
    last = torch.channels_last
    network = case.network().to(memory_format=last)
    images = case.toy.images.clone(memory_format=last)
    maps = case.method.maps(case.record(network, images=images))
    expect_same_maps(case.maps, maps, "with channels_last memory")


@clause("it does not change the record", has_a_map_per_slot)
def leaves_the_record(case: MethodCase) -> None:
    """The next method gets the same record: an operation in place needs a copy."""
    record = case.record(plan=case.method.plan | Plan(gradients=True))
    before = record_snapshot(record)
    case.method.maps(record)
    expect_unchanged(before, record_snapshot(record))


@clause("it does not change the network, the images or torch's modes", has_a_map_per_slot)
def leaves_the_network(case: MethodCase) -> None:
    """Weights, modes, requires_grad, .grad, hooks and attributes are as before."""
    network, images = with_mixed_states(case.network()), case.toy.images.clone()
    before = network_snapshot(network, images)
    case.method.maps(case.record(network, images=images))
    expect_unchanged(before, network_snapshot(network, images))


@clause(
    "an error in the network reaches the caller, and the network is still unchanged",
    has_a_map_per_slot,
    leaves_the_network,
)
def survives_a_failing_network(case: MethodCase) -> None:
    """The network fails in the middle of the shared pass, and of the method's further passes."""
    counted = case.network()
    with failing(counted, at=None) as calls:
        record = case.record(counted)
        n_of_pass = calls[0]
        case.method.maps(record)
        n = calls[0]
    for at in sorted({n_of_pass // 2 + 1, min(n_of_pass + 1, n), (n_of_pass + n) // 2, n}):
        network, images = with_mixed_states(case.network()), case.toy.images.clone()
        with failing(network, at=at):
            before = network_snapshot(network, images)
            try:
                case.method.maps(case.record(network, images=images))
            except Exception as error:
                if not comes_from_failure(error):
                    fail("the error that the network raised", f"{type(error).__name__}: {error}")
            else:
                fail("the error that the network raised", "no error")
            expect_unchanged(before, network_snapshot(network, images))


@clause(
    "if it claims to generalize CAM, its maps are ReLU(CAM) up to a positive factor",
    has_a_map_per_slot,
    is_repeatable,
)
def agrees_with_cam(case: MethodCase) -> None:
    """Compare the maps with ReLU(CAM), at a layer followed by GAP and a linear layer."""
    if not case.method.generalizes_cam:
        raise InapplicableClauseError("the method does not claim that (with generalizes_cam=True)")
    record = case.record()
    if record.layer.class_weights is None:
        raise InapplicableClauseError(
            "no global average pooling and linear layer follow the target layer here"
        )
    cam = torch.einsum("bkc,bchw->bkhw", record.class_weights, record.activations).relu()
    maps = case.method.maps(record)
    if cam.shape != maps.shape:
        fail(f"maps of shape {tuple(cam.shape)}", tuple(maps.shape))
    expect_same_maps(
        in_units_of_maximum(cam), in_units_of_maximum(maps), "as ReLU(CAM), in units of the maximum"
    )


CLAUSES: tuple[Clause[MethodCase], ...] = (
    has_a_map_per_slot,
    is_float32_and_detached,
    is_finite,
    is_not_constant,
    is_as_it_was_made,
    is_repeatable,
    leaves_the_generators,
    is_independent_of_the_batch,
    follows_the_slots,
    is_independent_of_other_classes,
    is_independent_of_other_methods,
    works_with_frozen_parameters,
    works_without_gradients,
    works_in_inference_mode,
    works_in_channels_last,
    leaves_the_record,
    leaves_the_network,
    survives_a_failing_network,
    agrees_with_cam,
)
