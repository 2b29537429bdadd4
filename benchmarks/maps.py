"""Measure what maps of the five best classes cost, beside captum, grad-cam and torchcam.

    python benchmarks/maps.py --markdown results/benchmark_maps.md

Needs the extra ``peers``. Runtime: about 15 minutes for both networks on one core.

Expected: Grad-CAM costs at most 1.10 forward passes on ResNet-50 and at most 1.20 on VGG-16: one
forward pass, and one backward pass (all classes in a batch) that ends at the target layer. For each
class, torchcam needs a backward pass, captum a forward and a backward pass, and grad-cam a forward
pass and a backward pass through the whole network. All maps agree: correlation 1.000. Eight
gradient methods together cost at most 1.25 forward passes. Score-CAM for five classes takes at most
1.05 times as long as for one.

The unit of cost is the process CPU time of one bare forward pass (no_grad, evaluation mode) of the
same batch on one thread. Each repetition times the forward pass and then all libraries in turn.
Ratios are taken within a repetition, so that a slow phase of the machine cancels. Weights are
random: that changes neither the work nor the agreement.
"""

import argparse
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.nn.functional as F
import torchvision
from contestants import CONTESTANTS, TOP_K, MakeMaps, by_wsol_bench, missing_peers
from torch import Tensor, nn

from wsol_bench import localization_maps
from wsol_bench.models.target_layers import find_module, target_of

SIDE = 224
GOALS = {"resnet50": 1.10, "vgg16": 1.20}

# Eight methods on one pass, and the classes of those that a peer has.
EIGHT = {
    "grad_cam": {"grad-cam": "GradCAM", "torchcam": "GradCAM"},
    "grad_cam_pp": {"grad-cam": "GradCAMPlusPlus", "torchcam": "GradCAMpp"},
    "grad_cam_pp_authors": {},
    "xgrad_cam": {"grad-cam": "XGradCAM", "torchcam": "XGradCAM"},
    "layer_cam": {"grad-cam": "LayerCAM", "torchcam": "LayerCAM"},
    "hires_cam": {"grad-cam": "HiResCAM"},
    "elementwise_grad_cam": {"grad-cam": "GradCAMElementWise"},
    "eigen_grad_cam": {"grad-cam": "EigenGradCAM"},
}
EIGHT_GOAL = 1.25
SCORE_CAM_GOAL = 1.05


class Line(NamedTuple):
    """The measurements of one library on one network."""

    forwards: int
    backwards: int
    live_maps: int
    correlation: float
    difference: float
    ratios: list[float]


@contextmanager
def passes_counted(model: nn.Module) -> Iterator[Counter[str]]:
    """Count forward passes by the first layer, and backward passes by calls of autograd."""
    counts: Counter[str] = Counter()

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            counts["backward"] += 1
            return function(*args, **kwargs)

        return call

    first = next(module for module in model.modules() if not list(module.children()))
    handle = first.register_forward_hook(lambda *_: counts.update(["forward"]))
    autograd = torch.autograd
    try:
        with (
            patch.object(autograd, "grad", counted(autograd.grad)),
            patch.object(autograd, "backward", counted(autograd.backward)),
        ):
            yield counts
    finally:
        handle.remove()


def in_unit_range(maps: Tensor) -> Tensor:
    """Maps at the size of the input, each scaled from 0 to 1, as grad-cam returns them."""
    if maps.shape[-1] != SIDE:
        maps = F.interpolate(maps, (SIDE, SIDE), mode="bilinear", align_corners=False)
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, 1)


def agreement(ours: Tensor, theirs: Tensor) -> tuple[int, float, float]:
    """The number of maps that are not zero, their lowest correlation, the largest difference."""
    ours = in_unit_range(ours).flatten(2).double()
    theirs = in_unit_range(theirs).flatten(2).double()
    live = (ours.amax(2) > 0) | (theirs.amax(2) > 0)
    centred = [maps[live] - maps[live].mean(1, keepdim=True) for maps in (ours, theirs)]
    correlation = F.cosine_similarity(*centred, dim=1)
    return int(live.sum()), float(correlation.min()), float((ours - theirs).abs().max())


def cpu_seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def measure(
    name: str, batch_size: int, repeats: int, contestants: dict[str, MakeMaps]
) -> dict[str, Line]:
    """The measurements of all libraries on one network."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    target = target_of(model)
    if target.layout != "nchw" or target.then_relu:
        sys.exit(f"{name}: the peers can only hook a module with a (b, c, h, w) output")
    layer = find_module(model, target.layer)
    images = torch.randn(batch_size, 3, SIDE, SIDE)

    def forward() -> Tensor:
        with torch.no_grad():
            logits: Tensor = model(images)
        return logits

    classes = forward().topk(TOP_K).indices
    ours = by_wsol_bench(model, layer, images, classes)
    lines = {}
    for contestant, make_maps in contestants.items():
        with passes_counted(model) as counts:
            maps = make_maps(model, layer, images, classes)
        model.zero_grad()  # grad-cam leaves gradients on the parameters
        lines[contestant] = Line(
            counts["forward"], counts["backward"], *agreement(ours, maps), ratios=[]
        )
        say(f"{name}: {contestant} runs")
    for repeat in range(repeats):
        unit = cpu_seconds(forward)
        said = f"{name}: repetition {repeat + 1} of {repeats}: forward {unit:.2f} s"
        for contestant, make_maps in contestants.items():
            seconds = cpu_seconds(lambda make=make_maps: make(model, layer, images, classes))
            model.zero_grad()
            lines[contestant].ratios.append(seconds / unit)
            said += f", {contestant} {seconds / unit:.3f}"
        say(said)
    return lines


def measure_eight(
    name: str, batch_size: int, repeats: int, contestants: dict[str, MakeMaps]
) -> dict[str, tuple[int, Counter[str], list[float]]]:
    """Count the methods of the eight that each library has, and measure their passes and cost."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    layer = find_module(model, target_of(model).layer)
    images = torch.randn(batch_size, 3, SIDE, SIDE)

    def forward() -> Tensor:
        with torch.no_grad():
            logits: Tensor = model(images)
        return logits

    classes = forward().topk(TOP_K).indices

    def all_of(library: str) -> tuple[int, Callable[[], object]]:
        if library == "wsol-bench":
            return len(EIGHT), lambda: localization_maps(model, images, list(EIGHT), k=TOP_K)
        make: Any = contestants[library]
        names = [peers[library] for peers in EIGHT.values() if library in peers]
        return len(names), lambda: [make(model, layer, images, classes, one) for one in names]

    libraries = [one for one in ("wsol-bench", "grad-cam", "torchcam") if one in contestants]
    lines: dict[str, tuple[int, Counter[str], list[float]]] = {}
    for repeat in range(repeats):
        unit = cpu_seconds(forward)
        said = f"{name}, eight methods: repetition {repeat + 1} of {repeats}:"
        # Peers take a hundred times as long: once is enough to say so.
        for library in libraries if repeat == 0 else libraries[:1]:
            n_methods, run = all_of(library)
            with passes_counted(model) as counts:
                ratio = cpu_seconds(run) / unit
            model.zero_grad()
            lines.setdefault(library, (n_methods, counts, []))[2].append(ratio)
            said += f" {library} {ratio:.3f}"
        say(said)
    return lines


def measure_score_cam(repeats: int) -> list[float]:
    """Score-CAM's cost for five classes in units of its cost for one, on ResNet-18."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None).eval()
    images = torch.randn(1, 3, SIDE, SIDE)
    ratios = []
    for repeat in range(repeats):
        one, five = (
            cpu_seconds(lambda k=k: localization_maps(model, images, "score_cam", k=k))
            for k in (1, TOP_K)
        )
        ratios.append(five / one)
        say(f"score_cam: repetition {repeat + 1} of {repeats}: {five / one:.3f}")
    return ratios


def markdown_of_eight(
    measured: dict[str, dict[str, tuple[int, Counter[str], list[float]]]],
) -> str:
    table = [
        "| network | library | methods | forward passes | backward passes | cost (median) "
        "| quartiles | goal |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for network, lines in measured.items():
        for library, (n_methods, counts, ratios) in lines.items():
            low, middle, high = quartiles(ratios)
            goal = f"≤ {EIGHT_GOAL}" if library == "wsol-bench" else ""
            table.append(
                f"| {network} | {library} | {n_methods} | {counts['forward']} "
                f"| {counts['backward']} | {middle:.3f} | {low:.3f} to {high:.3f} | {goal} |"
            )
    return "\n".join(table)


def markdown(measured: dict[str, dict[str, Line]], missing: dict[str, str]) -> str:
    table = [
        "| network | library | forward passes | backward passes | cost (median) | quartiles "
        "| goal | lowest correlation | largest difference |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for network, lines in measured.items():
        for library, line in lines.items():
            low, middle, high = quartiles(line.ratios)
            goal = f"≤ {GOALS[network]:.2f}" if library == "wsol-bench" and network in GOALS else ""
            table.append(
                f"| {network} | {library} | {line.forwards} | {line.backwards} | {middle:.3f} "
                f"| {low:.3f} to {high:.3f} | {goal} | {line.correlation:.6f} "
                f"| {line.difference:.1e} |"
            )
        table += [
            f"| {network} | {library} | not installed | | | | | | |"
            for library in CONTESTANTS
            if library in missing
        ]
    return "\n".join(table)


def quartiles(values: list[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def page(
    arguments: argparse.Namespace, table: str, n_live: dict[str, int], eight: str, score_cam: str
) -> str:
    """The page: the tables, and what is needed to measure them again."""
    packages = ("torch", "torchvision", "numpy", *(name for name in CONTESTANTS))
    versions = ", ".join(f"{name} {installed_version(name)}" for name in packages)
    live = ", ".join(f"{count} on {network}" for network, count in n_live.items())
    return f"""# Cost of maps of the {TOP_K} best classes

    {" ".join(["python", "benchmarks/maps.py", *sys.argv[1:]])}

## Grad-CAM

Maps of {TOP_K} classes at the target-layer table's layer, batch of {arguments.batch_size}, \
{SIDE} x {SIDE}, random weights. Cost: process CPU time in bare forward passes (`torch.no_grad`) \
of the same batch; one thread; ratio within each of {arguments.repeats} repetitions, median and \
quartiles. Agreement with wsol-bench: each map upsampled bilinearly to the input and brought to \
[0, 1] (grad-cam returns nothing else); correlation is the lowest over the maps that are not zero \
({live}, of {arguments.batch_size * TOP_K}), difference the largest absolute one over all.

{table}

## Eight methods together

{", ".join(f"`{name}`" for name in EIGHT)}: those that a library has, for the same \
classes, in the same units; the peers' cost is of one repetition.

{eight}

## Score-CAM for {TOP_K} classes

{score_cam}

{versions}; Python {platform.python_version()}; {cpu_model()}; {time.strftime("%Y-%m-%d")}.
"""


def installed_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7, help="Number of repetitions.")
    parser.add_argument(
        "--models", nargs="+", default=list(GOALS), metavar="NAME", help="Names of networks."
    )
    parser.add_argument("--batch-size", type=int, default=8, help="Number of images in a batch.")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="Also write the page to a file."
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    missing = missing_peers()
    for name, reason in missing.items():
        say(f"{name} is left out: {reason}")
    contestants = {name: make for name, (_, make) in CONTESTANTS.items() if name not in missing}
    measured = {
        name: measure(name, arguments.batch_size, arguments.repeats, contestants)
        for name in arguments.models
    }
    table = markdown(measured, missing)
    eight = markdown_of_eight(
        {
            name: measure_eight(name, arguments.batch_size, arguments.repeats, contestants)
            for name in arguments.models
        }
    )
    low, middle, high = quartiles(measure_score_cam(arguments.repeats))
    score_cam = (
        f"On ResNet-18, one image: {middle:.3f} times what it takes for one class (median; "
        f"quartiles {low:.3f} to {high:.3f}; goal ≤ {SCORE_CAM_GOAL})."
    )
    print(table, eight, score_cam, sep="\n\n")
    if arguments.markdown:
        n_live = {network: lines["wsol-bench"].live_maps for network, lines in measured.items()}
        arguments.markdown.parent.mkdir(parents=True, exist_ok=True)
        arguments.markdown.write_text(page(arguments, table, n_live, eight, score_cam))


if __name__ == "__main__":
    main()
