"""Whether the memory of a process stays flat over many images, for every family of map methods.

    python benchmarks/memory.py --markdown results/benchmark_memory.md

Runtime: about 3 minutes on one core. Expected: after the first tenth of the images the resident
memory grows by less than 2% a family: nothing of an image outlives its batch.

Images are synthetic, the networks small ones of random weights, and perturbation methods make few
masks: what is watched is what remains, not what is computed. Each family runs in a process of its
own, batch after batch as a run does it, with maps of the five best classes and of the image's own.
"""

import argparse
import gc
import multiprocessing
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchvision
from torch import Tensor, nn

from wsol_bench.capture import BestClasses, capture
from wsol_bench.methods.base import MapMethod, cam_methods, merged_plan
from wsol_bench.models.target_layers import Target

SIDE, BATCH, N_CLASSES = 64, 8, 10

# Of each family all methods, with options that make few passes.
FAMILIES: dict[str, dict[str, dict[str, Any]]] = {
    "activation and gradient": {
        name: {}
        for name in (
            "cam", "grad_cam", "grad_cam_pp", "grad_cam_pp_authors", "xgrad_cam", "layer_cam",
            "hires_cam", "elementwise_grad_cam", "eigen_cam", "eigen_grad_cam",
        )
    },
    "head again": {"shapley_cam": {}, "finer_cam": {}, "ablation_cam": {}},
    "whole graph": {"smooth_grad_cam_pp": {"samples": 2}, "full_grad": {}},
    "perturbation": {
        "score_cam": {},
        "ss_cam": {"samples": 1},
        "is_cam": {"steps": 1},
        "rise": {"masks": 8},
        "occlusion": {"window": 32, "stride": 32},
    },
    "pixel gradients": {
        "backprop": {}, "deconvnet": {}, "guided_backprop": {}, "guided_grad_cam": {},
        "smooth_grad": {"samples": 2}, "input_x_gradient": {}, "integrated_gradients": {"steps": 2},
    },
    "excitation": {"excitation_bp": {}, "c_mwp": {}},
    "attention": {"attention_rollout": {}, "transformer_attribution": {}, "le_grad": {}},
}  # fmt: skip


class Line(NamedTuple):
    """Resident memory in MiB after the first tenth of the images and at the end, and the time."""

    n_methods: int
    early: float
    late: float
    seconds: float


def network(family: str) -> nn.Module:
    torch.manual_seed(0)
    if family == "attention":
        vit = torchvision.models.VisionTransformer(SIDE, 16, 2, 2, 32, 64, num_classes=N_CLASSES)
        nn.init.normal_(vit.heads.head.weight)
        return vit.eval()
    return _SmallNet().eval()


class _SmallNet(nn.Module):
    """Two convolutions, a residual sum, an average, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4, padding=2), nn.ReLU())
        self.layer = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.after = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, N_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        features = self.stem(images)
        logits: Tensor = self.fc(self.pool(self.after(features + self.layer(features))).flatten(1))
        return logits


def resident() -> float:
    """Resident memory of this process in MiB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def watch(family: str, n_images: int) -> Line:
    """Run a family on so many images, in this process."""
    torch.set_num_threads(1)
    methods: list[MapMethod] = [
        cam_methods.get(name).with_options(options, name)
        for name, options in FAMILIES[family].items()
    ]
    model = network(family)
    target = Target("encoder.layers.encoder_layer_1.ln_1", layout="tokens")
    if family != "attention":
        target = Target("after", head="fc", excitation=("stem", "pool"))
    generator = torch.Generator().manual_seed(0)
    begin, early = time.perf_counter(), float("nan")
    for done in range(0, n_images, BATCH):
        images = torch.randn(BATCH, 3, SIDE, SIDE, generator=generator)
        labels = torch.randint(N_CLASSES, (BATCH,), generator=generator)
        record = capture(
            model, images, [target], merged_plan(methods), classes=BestClasses(labels=labels)
        )
        for method in methods:
            last = torch.full_like(labels[:, None], record.classes.shape[1] - 1)
            maps = method(record, last if method.classes == "label" else None)
            if not maps.isfinite().all():
                sys.exit(f"{method.name}: a map is not finite")
        if done <= n_images // 10 < done + BATCH:
            early = resident()
    return Line(len(methods), early, resident(), time.perf_counter() - begin)


def in_process(family: str, n_images: int) -> Line:
    """``watch`` in a new process, whose memory is its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(watch, family, n_images).result()


def markdown(lines: dict[str, Line]) -> str:
    table = [
        "| family | methods | after the first tenth (MiB) | at the end (MiB) | growth | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for family, line in lines.items():
        growth = 100 * (line.late / line.early - 1)
        table.append(
            f"| {family} | {line.n_methods} | {line.early:.0f} | {line.late:.0f} "
            f"| {growth:+.1f}% | {line.seconds:.0f} |"
        )
    return "\n".join(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there, too")
    arguments = parser.parse_args()
    lines = {}
    for family in arguments.families:
        lines[family] = in_process(family, arguments.images)
        print(f"{family}: {lines[family]}", file=sys.stderr, flush=True)
    table = markdown(lines)
    print(table)
    if arguments.markdown:
        command = " ".join(["python", "benchmarks/memory.py", *sys.argv[1:]])
        arguments.markdown.write_text(
            f"""# Resident memory over {arguments.images} images

    {command}

Each family of map methods in a process of its own; synthetic {SIDE} x {SIDE} images, batches of \
{BATCH}, small networks with random weights.

{table}

torch {torch.__version__}; Python {platform.python_version()}; {time.strftime("%Y-%m-%d")}.
"""
        )


if __name__ == "__main__":
    main()
