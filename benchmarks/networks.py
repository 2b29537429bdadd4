"""Record, replay and read layers of many networks, and compare each with a brute-force oracle.

    python benchmarks/networks.py --layers 4 --markdown results/benchmark_networks.md

Runtime: about 25 minutes on two cores. Expected: no line has anything wrong; what is not right is
refused with a reason.

All of torchvision's families of classifiers and a wide choice of timm's and transformers', with
random weights whose
batch normalization has seen noise. Layers are drawn among all modules that return one tensor of
three or four dimensions, evenly from the network's input to its output, and the target-layer
table's own layer is added. For each layer:

* replay: half of the channels are set to zero, and the part behind the layer runs alone (as for
  Ablation-CAM). Oracle: the whole network, with a plain forward hook that puts the same tensor in
  the place of the layer's output.
* grid: a square in one corner of the image is changed, and then in each other one. Oracle: where
  the recorded activations change must move as the square does, to the right and downward, in four
  images of noise. At layers where every position sees the whole image ("global") the movement is
  not larger than three standard errors, or than a hundredth of the grid, and the oracle does not
  tell: random attention moves the changes by some thousandths, to either side.
"""

import argparse
import platform
import random
import sys
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
import torchvision
import transformers
from torch import Tensor, nn

from wsol_bench.capture import Plan, capture
from wsol_bench.errors import ModelError, NotApplicableError
from wsol_bench.models.output_reading import OutputReading
from wsol_bench.models.target_layers import Target, target_of

TORCHVISION = [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet",
    "inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small",
    "regnet_x_400mf", "regnet_y_400mf", "resnet18", "resnet50", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11_bn", "vit_b_32",
    "wide_resnet50_2",
]  # fmt: skip

TIMM = [
    "beit_base_patch16_224", "botnet26t_256", "cait_xxs24_224", "caformer_s18", "coat_lite_tiny",
    "coatnet_0_rw_224", "convit_tiny", "convmixer_768_32", "convnext_atto", "convnextv2_atto",
    "crossvit_tiny_240", "cs3darknet_s", "cspresnet50", "davit_tiny",
    "deit_tiny_distilled_patch16_224", "deit3_small_patch16_224", "densenet121", "dla34",
    "dpn48b", "edgenext_xx_small", "efficientformer_l1", "efficientformerv2_s0",
    "efficientnet_b0", "efficientvit_b0", "efficientvit_m0", "ese_vovnet19b_dw",
    "eva02_tiny_patch14_224", "fastvit_t8", "focalnet_tiny_srf", "gcvit_xxtiny", "gernet_s",
    "ghostnet_050", "ghostnetv2_100", "halonet26t", "hardcorenas_a", "hgnet_tiny",
    "hiera_tiny_224", "hrnet_w18_small", "inception_next_atto", "inception_resnet_v2",
    "inception_v3", "inception_v4", "lambda_resnet26t", "lcnet_050", "levit_128s",
    "mambaout_femto", "maxvit_tiny_rw_224", "maxxvit_rmlp_nano_rw_256", "mixer_s32_224",
    "mixnet_s", "mnasnet_small", "mobilenetv2_050", "mobilenetv3_small_050",
    "mobilenetv4_conv_small", "mobileone_s0", "mobilevit_xxs", "mobilevitv2_050", "mvitv2_tiny",
    "nest_tiny", "nextvit_small", "nfnet_f0", "pit_ti_224", "pnasnet5large", "poolformer_s12",
    "pvt_v2_b0", "pvig_ti", "regnetx_002", "regnety_002", "regnetz_b16", "repghostnet_050",
    "repvgg_a0", "repvit_m0_9", "res2net50_26w_4s", "resmlp_12_224", "resnest14d", "resnet18",
    "resnetv2_50", "resnetv2_50x1_bit", "rexnet_100", "sehalonet33ts", "selecsls42b",
    "semnasnet_075", "seresnet18", "sequencer2d_s", "shvit_s1", "skresnet18", "starnet_s1",
    "swin_tiny_patch4_window7_224", "swiftformer_xs", "swinv2_cr_tiny_ns_224",
    "swinv2_tiny_window8_256", "tf_efficientnetv2_b0", "tiny_vit_5m_224", "tinynet_e",
    "tnt_s_legacy_patch16_224", "tresnet_m", "twins_svt_small", "vgg11_bn", "visformer_tiny",
    "vit_base_patch16_rope_224", "vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2",
    "volo_d1_224", "vovnet39a", "xception41", "xcit_nano_12_p16_224",
]  # fmt: skip

# Of transformers, by the class of their configuration.
HUGGING_FACE: dict[str, dict[str, Any]] = {
    "Beit": {"image_size": 128},
    "CLIP": {},
    "ConvNext": {"depths": [2, 2, 2, 2]},
    "ConvNextV2": {"depths": [2, 2, 2, 2]},
    "DeiT": {"image_size": 128},
    "Dinov2": {"image_size": 126},
    "EfficientNet": {"image_size": 128},
    "FocalNet": {"image_size": 128},
    "HGNetV2": {},
    "MobileNetV1": {},
    "MobileNetV2": {},
    "PoolFormer": {},
    "PvtV2": {},
    "RegNet": {},
    "ResNet": {},
    "Siglip": {},
    "Swin": {"image_size": 128, "window_size": 4},
    "Swinv2": {"image_size": 128, "window_size": 4},
    "ViT": {"image_size": 128},
}

N_CLASSES = 10
# Images of noise, in which a square is changed.
N_IMAGES = 4
# The least movement that tells an order, as a part of the grid's side.
LEAST_MOVE = 0.01


class Line(NamedTuple):
    """What was found at the layers of a network."""

    network: str
    layers: int
    replay: Counter[str]
    grid: Counter[str]
    reasons: list[str]
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Formatter)
    parser.add_argument("--layers", type=int, default=6, help="number of layers of each network")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of layers")
    parser.add_argument(
        "--only", nargs="*", default=[], help="networks, by torchvision/, timm/ or hf/"
    )
    parser.add_argument("--processes", type=int, default=2, help="number of processes")
    parser.add_argument("--markdown", type=Path, help="file of the table")
    arguments = parser.parse_args()
    names = arguments.only or [f"torchvision/{name}" for name in TORCHVISION] + [
        f"timm/{name}" for name in TIMM if timm.is_model(name)
    ] + [f"hf/{name}" for name in HUGGING_FACE]
    lines: list[Line] = []
    with ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool:
        futures = [pool.submit(examine, name, arguments.layers, arguments.seed) for name in names]
        for future in futures:
            line = future.result()
            lines.append(line)
            print(_row(line), *(f"    {reason}" for reason in line.reasons), sep="\n", flush=True)
    if arguments.markdown:
        arguments.markdown.write_text(_page(lines, arguments))
    return int(any(line.replay["wrong"] or line.grid["wrong"] for line in lines))


def examine(name: str, n_layers: int, seed: int) -> Line:
    """Record, replay and read layers of one network."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    begin = time.perf_counter()
    replay, grid = Counter[str](), Counter[str]()
    reasons: list[str] = []
    net, side = build(name)
    layers = chosen_layers(net, side, n_layers, random.Random(f"{seed} {name}"))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        images = torch.randn(2, 3, side, side)
    for layer in layers:
        for kind, counter, question in (
            ("grid", grid, grid_of_layer), ("replay", replay, replay_of_layer),
        ):  # fmt: skip
            try:
                verdict = question(net, layer, images)
            except NotApplicableError as error:
                verdict, reason = "refused", str(error)
            except ModelError as error:
                verdict, reason = "refused", str(error)
            except Exception:
                verdict, reason = "wrong", traceback.format_exc().strip().splitlines()[-1]
            else:
                reason = "found by the oracle"
            counter[verdict] += 1
            if verdict not in ("right", "global"):
                reasons.append(f"{kind} {verdict} at {layer}: {reason}")
    return Line(name, len(layers), replay, grid, reasons, time.perf_counter() - begin)


def build(name: str) -> tuple[nn.Module, int]:
    """A network with random weights, and the side of its images in pixels."""
    package, _, model = name.partition("/")
    torch.manual_seed(0)
    if package == "timm":
        net = timm.create_model(model, num_classes=N_CLASSES)
        fixed, side = (
            net.pretrained_cfg.get("fixed_input_size"),
            net.pretrained_cfg["input_size"][1],
        )
        side = side if fixed or side < 160 or model[:3] == "inc" else max(128, side // 2 // 32 * 32)
    elif package == "hf":
        kind = getattr(transformers, f"{model}Config")
        config = kind(num_labels=N_CLASSES, **HUGGING_FACE[model])
        net = getattr(transformers, f"{model}ForImageClassification")(config)
        net.register_forward_hook(OutputReading("logits"))
        side = getattr(getattr(config, "vision_config", config), "image_size", 128)
    else:
        plain = {"aux_logits": False, "init_weights": False}
        options = plain if model in {"googlenet", "inception_v3"} else {}
        net = torchvision.models.get_model(model, num_classes=N_CLASSES, **options)
        side = 224 if model[:3] in {"vit", "max", "inc"} else 128
    for key, parameter in net.named_parameters():
        # Heads that start at zero, and scales that leave next to nothing of a block, test nothing.
        if parameter.ndim == 2 and len(parameter) == N_CLASSES:
            nn.init.normal_(parameter, std=0.1)
        elif parameter.ndim == 1 and (parameter.abs() < 1e-3).all() and "bias" not in key:
            nn.init.constant_(parameter, 0.5)
    normalizations = [
        module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    for module in normalizations:
        module.train()
        module.momentum = None
    net.eval()
    for module in normalizations:
        module.train()
    with torch.no_grad():
        try:
            net(torch.randn(4, 3, side, side))
        except (AssertionError, RuntimeError):
            side = net.pretrained_cfg["input_size"][1]
            net(torch.randn(4, 3, side, side))
    return net.eval(), side


def chosen_layers(net: nn.Module, side: int, n: int, draw: random.Random) -> list[str]:
    """Names of layers that return one tensor, evenly from input to output, in random places."""
    ran: dict[str, int] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            spatial = isinstance(output, Tensor) and (
                (output.ndim == 4 and min(output.shape[2:]) > 1)
                or (output.ndim == 3 and output.shape[1] > 8)
            )
            ran[name] = ran.get(name, 0) + 1 if spatial else -100

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in net.named_modules()]
    with torch.no_grad():
        net(torch.randn(1, 3, side, side))
    for handle in handles:
        handle.remove()
    names = [name for name, times in ran.items() if name and times == 1]
    bounds = [round(index * len(names) / n) for index in range(n + 1)]
    drawn = [draw.choice(names[low:high]) for low, high in pairwise(bounds) if low < high]
    with suppress(ModelError):  # the table does not have every network
        drawn.append(target_of(net).layer)
    return list(dict.fromkeys(drawn))


def replay_of_layer(net: nn.Module, layer: str, images: Tensor) -> str:
    """Run the part behind a layer alone, with half of the channels, and the whole network so."""
    record = capture(net, images, [_target(net, layer)], Plan())
    changed = record.activations.clone()
    changed[:, ::2] = 0
    target = _target(net, layer)
    found = record.head(changed, torch.arange(len(images)))
    grid = record.layer.grid
    assert grid is not None

    def put(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return grid.to_output(changed, output).clone()

    if target.then_relu:
        return "right"
    handle = net.get_submodule(layer).register_forward_hook(put)
    try:
        with torch.no_grad():
            expected = net(images)
    finally:
        handle.remove()
    scale = float(expected.abs().max())
    return "right" if float((found - expected).abs().max()) <= 1e-3 * scale else "wrong"


def grid_of_layer(net: nn.Module, layer: str, images: Tensor) -> str:
    """Change a square in each corner, and see whether the recorded activations change there.

    The centers of what changes move with the square: for four images of noise, by rows and columns
    as the square moves downward and to the right. The movement counts if it is larger than three
    times its standard error and than `LEAST_MOVE`.
    """
    side = images.shape[2]
    third = side * 3 // 8
    low, high = slice(0, third), slice(side - third, side)
    moves = []
    for seed in range(N_IMAGES):
        noise = torch.Generator().manual_seed(seed)
        batch = torch.randn(1, *images.shape[1:], generator=noise).repeat(5, 1, 1, 1)
        for image, (rows, columns) in zip(
            batch[1:], [(low, low), (low, high), (high, low), (high, high)], strict=True
        ):
            image[:, rows, columns] = 3 - image[:, rows, columns]
        record = capture(net, batch, [_target(net, layer)], Plan())
        changes = (record.activations[1:] - record.activations[:1]).abs().sum(1)
        height, width = changes.shape[1:]
        if min(height, width) < 2:
            return "right"
        total = changes.sum((1, 2))
        rows = (changes.sum(2) * torch.arange(height)).sum(1) / total / height
        columns = (changes.sum(1) * torch.arange(width)).sum(1) / total / width
        centers = torch.stack([rows, columns], 1).unflatten(0, (2, 2))  # by row, by column, (y, x)
        downward = (centers[1] - centers[0]).mean(0)
        rightward = (centers[:, 1] - centers[:, 0]).mean(0)
        moves.append(torch.stack([downward, rightward]))
    mean = torch.stack(moves).mean(0)
    error = torch.stack(moves).std(0) / len(moves) ** 0.5
    counts = (mean.abs() > 3 * error) & (mean.abs() > LEAST_MOVE)
    mirrored = bool((counts & (mean < 0)).diagonal().any())
    # Rows move with columns, and columns with rows.
    across = (counts & (mean.abs() > mean.diagonal().abs().max())).fliplr().diagonal()
    if mirrored or bool(across.all()):
        return "wrong"
    return "right" if bool(counts.diagonal().all()) else "global"


def _target(net: nn.Module, layer: str) -> Target:
    return target_of(net, layer=layer)


def _row(line: Line) -> str:
    counts = (
        str(counter[verdict])
        for counter, verdicts in (
            (line.replay, ("right", "refused", "wrong")),
            (line.grid, ("right", "global", "refused", "wrong")),
        )
        for verdict in verdicts
    )
    return f"| {line.network} | {line.layers} | {' | '.join(counts)} | {line.seconds:.0f} |"


def _sum(lines: list[Line]) -> Line:
    return Line(
        "all",
        sum(line.layers for line in lines),
        sum((line.replay for line in lines), Counter()),
        sum((line.grid for line in lines), Counter()),
        [],
        sum(line.seconds for line in lines),
    )


def _page(lines: list[Line], arguments: argparse.Namespace) -> str:
    reasons = [f"- {line.network}: {reason}" for line in lines for reason in line.reasons] or [
        "- none"
    ]
    return "\n".join(
        [
            "# Networks: the part behind a layer run alone, and the grid of a layer",
            "",
            f"    python benchmarks/networks.py --layers {arguments.layers} "
            "--markdown results/benchmark_networks.md",
            "",
            "Layers drawn from each network; the benchmark's own text says what the oracles are.",
            "",
            "| network | layers | replay right | refused | wrong | grid right | global | refused "
            "| wrong | seconds |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *map(_row, [*lines, _sum(lines)]),
            "",
            "What was refused, and why:",
            "",
            *reasons,
            "",
            f"torch {torch.__version__}; timm {timm.__version__}; Python "
            f"{platform.python_version()}; {time.strftime('%Y-%m-%d')}.",
            "",
        ]
    )


class _Formatter(argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    sys.exit(main())
