"""The settings of a model's passes: those of the experiment, or what fits the machine (``auto``).

They change results by float noise only, so that ``auto`` belongs to the identity of a run and its
choice does not. On a CPU the choice follows from the number of cores and the network, and is the
same each time. On a GPU the size of a batch follows from the free memory.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from wsol_bench.common.machine import free_shared_memory, usable_cores
from wsol_bench.common.vocabulary import Precision
from wsol_bench.protocols.input_section import InputSection
from wsol_bench.runs.experiment_config import ExperimentConfig
from wsol_bench.runs.facts import PassSettings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from wsol_bench.methods.base import MapMethod
    from wsol_bench.models.classifiers import Classifier

__all__ = [
    "WITHOUT_NETWORK",
    "Machine",
    "Needs",
    "described",
    "is_convolutional",
    "settings_for",
    "settings_of",
]

# The number of images in a batch of a run without a network.
WITHOUT_NETWORK = 64
# On a CPU a small batch stays in its caches (results/benchmark_pipeline.md); more cores share more.
_ON_CPU, _MOST_ON_CPU = 4, 32
# The least and largest batch on a GPU, and its batch if the need of memory is not known. A part has
# as many images as the largest.
_LEAST_SHARED, _MOST_ON_GPU, _UNKNOWN_ON_GPU = 16, 128, 16
# A process decodes 500 images a second; more of them would wait for each other's memory.
_MOST_WORKERS = 16
# The part of a memory that is planned with: the rest is for methods and for what waits for scoring.
_PLANNED = 0.5


class Machine(NamedTuple):
    """The cores and memories that a machine has for the passes of a model.

    Attributes:
        cores: the number of CPU cores.
        shared_memory: free bytes for batches on their way between processes; None for no limit.
        gpu_memory: free bytes of the GPU; None if the network runs on the CPU.
    """

    cores: int
    shared_memory: int | None = None
    gpu_memory: int | None = None

    @classmethod
    def of(cls, device: "torch.device", cores: int | None = None) -> "Machine":
        """This machine.

        Args:
            device: the device of the network, which is there already.
            cores: the number of cores for these passes; None for all that this process may use.
        """
        memory = None
        if device.type == "cuda":
            import torch

            unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            memory = torch.cuda.mem_get_info(device)[0] + unused
        return cls(cores or usable_cores(), free_shared_memory(), memory)


class Needs(NamedTuple):
    """The needs of a model's passes.

    Attributes:
        is_convolutional: whether convolutions make up the network.
        input_bytes: bytes of a decoded image, with all its windows.
        gpu_bytes: says the bytes of GPU memory that an image takes in a pass; None if it is not
            known. It is only called if it matters.
        most: the largest batch that makes sense: the images of a part.
    """

    is_convolutional: bool
    input_bytes: int
    gpu_bytes: Callable[[], int | None]
    most: int


def settings_for(config: ExperimentConfig, machine: Machine, needs: Needs) -> PassSettings:
    """The settings of a model's passes: what the experiment says, and for ``auto`` what fits.

    Args:
        config: the experiment.
        machine: the machine that evaluates the images.
        needs: the needs of the passes.
    """
    from wsol_bench.images.loading import BATCHES_AHEAD  # which imports torch

    auto = config.batch_size == "auto"
    batch_size = _batch_size(machine, needs) if config.batch_size == "auto" else config.batch_size
    workers = _workers(machine) if config.workers == "auto" else config.workers
    # Batches on their way lie in shared memory, of which a container may have 64 MB.
    while (
        machine.shared_memory is not None
        and workers
        and (workers * BATCHES_AHEAD + 1) * batch_size * needs.input_bytes
        > _PLANNED * machine.shared_memory
    ):
        if auto and batch_size > _LEAST_SHARED:
            batch_size //= 2
        elif config.workers == "auto" and workers > 1:
            workers -= 1
        else:
            break
    channels_last = config.channels_last
    if channels_last == "auto":
        channels_last = needs.is_convolutional
    return PassSettings(
        batch_size=batch_size, workers=workers, channels_last=channels_last, at_once=batch_size
    )


def _batch_size(machine: Machine, needs: Needs) -> int:
    """A power of two, so that it divides a part."""
    if machine.gpu_memory is None:
        wanted = min(max(_ON_CPU, 2 * machine.cores), _MOST_ON_CPU)
    elif (each := needs.gpu_bytes()) is None:
        wanted = _UNKNOWN_ON_GPU
    else:
        wanted = min(int(_PLANNED * machine.gpu_memory) // max(1, each), _MOST_ON_GPU)
    return 1 << (max(1, min(wanted, needs.most)).bit_length() - 1)


def _workers(machine: Machine) -> int:
    if machine.gpu_memory is not None:
        return min(max(1, machine.cores - 1), _MOST_WORKERS)
    # The network takes all cores: on a small machine other processes would be in its way.
    return min(machine.cores // 4, _MOST_WORKERS)


def is_convolutional(module: "nn.Module") -> bool:
    """Return whether a network has more convolutions than that which makes patches of an image."""
    from torch import nn

    return sum(isinstance(layer, nn.Conv2d) for layer in module.modules()) > 1


def settings_of(
    config: ExperimentConfig,
    classifier: "Classifier",
    methods: "Sequence[MapMethod]",
    section: InputSection,
    device: "torch.device",
    *,
    cores: int | None = None,
    before: PassSettings | None = None,
) -> PassSettings:
    """The settings of a classifier's passes on this machine; see ``settings_for``.

    Args:
        config: the experiment.
        classifier: the classifier; its module is on the device.
        methods: the map methods that share its passes.
        section: the protocol's section ``input``.
        device: the device.
        cores: the number of CPU cores for the passes; None for all that this process may use.
        before: the settings with which this machine has worked on the run before, which are taken
            again; a key that the experiment sets counts all the same.
    """
    if before is not None:
        given = {
            key: getattr(config, key)
            for key in ("workers", "channels_last")
            if getattr(config, key) != "auto"
        }
        return before.model_copy(update=given)
    side = section.size
    needs = Needs(
        is_convolutional=is_convolutional(classifier.module),
        input_bytes=classifier.n_channels * side**2 * len(section.windows(side, side)),
        gpu_bytes=lambda: _gpu_bytes(classifier, methods, side, device, config.precision),
        most=config.images_per_part,
    )
    return settings_for(config, Machine.of(device, cores), needs)


def _gpu_bytes(
    classifier: "Classifier",
    methods: "Sequence[MapMethod]",
    side: int,
    device: "torch.device",
    precision: Precision,
) -> int | None:
    """Bytes of GPU memory that an image takes in a recorded pass; None if that fails.

    Four images of noise pass, uncounted.
    """
    import torch

    from wsol_bench.capture import capture
    from wsol_bench.methods.base import merged_plan

    n_images = 4
    shape = (n_images, classifier.n_channels, side, side)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    plan = merged_plan(methods)
    try:
        capture(classifier.module, noise.to(device), classifier.targets, plan, precision=precision)
    except torch.OutOfMemoryError:
        free: int = torch.cuda.mem_get_info(device)[0]
        return max(1, free)  # so that one image passes at a time
    except Exception:  # the run says in its own words what fails
        return None
    return int(torch.cuda.max_memory_allocated(device) - before) // n_images


def described(
    name: str, settings: PassSettings, device: "torch.device", precision: Precision
) -> str:
    """A line that says with which settings a model's images are evaluated.

    Args:
        name: the name of the model.
        settings: its settings.
        device: the device of the network.
        precision: the precision of the pass.
    """
    import torch

    n_threads = torch.get_num_threads()
    of_cpu = f", {n_threads} thread{'s' if n_threads > 1 else ''}"
    threads = of_cpu if device.type == "cpu" else ""
    of = settings.workers
    decoded = f"by {of} process{'es' if of > 1 else ''}" if of else "in this process"
    order = "last" if settings.channels_last else "first"
    gain = _gain(device) if precision == "fp32" else ""
    return (
        f"{name} on {device}{threads}: batches of {settings.batch_size}, decoded {decoded}, "
        f"channels {order}, {precision}{gain}"
    )


def _gain(device: "torch.device") -> str:
    """The words about what bf16 would gain over fp32, as far as it was measured."""
    import torch

    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return " (precision=bf16 may be faster, which was not measured)"
    if device.type != "cpu":
        return ""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    if any(getattr(torch.cpu, check, lambda: False)() for check in checks):
        return " (precision=bf16 took 0.6 of the time on such a CPU, and moves boxes)"
    return " (this CPU has no bf16: it would not be faster)"
