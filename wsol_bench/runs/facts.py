"""Facts: what a run records of its data set, models, methods and metrics.

They are parts of the run's identity (``runs.identity``) and are stored in its manifest.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from wsol_bench.common.table import Column
from wsol_bench.common.vocabulary import Better, Gives, Sanity, Scope
from wsol_bench.errors import RunError
from wsol_bench.metrics.base import Metric

__all__ = [
    "DatasetFacts",
    "Facts",
    "MethodFacts",
    "MetricFacts",
    "ModelFacts",
    "NetworkFreeFacts",
    "PassSettings",
]


class Facts(BaseModel):
    """A part of a manifest: immutable, without unknown keys, and with infinite numbers in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class DatasetFacts(Facts):
    """The data set of a run.

    Attributes:
        name: the data set's name in the configuration.
        n_images: the number of images that each model is evaluated on.
        fingerprint: digest of everything that is scored.
        findings: the number of the loader's findings of each kind.
    """

    name: str
    n_images: int
    fingerprint: str
    findings: dict[str, int]


class ModelFacts(Facts):
    """A classifier of a run.

    Attributes:
        layers: its target layers.
        weights: digest of its weights.
        n_classes: the number of its outputs.
        classes: digest of the wnids of its outputs.
        mean, std: the statistics that its input is normalized by.
        source: digest of its builder's file; the version of timm if timm builds it; that of
            transformers and the digest of its configuration if it is Hugging Face's; None for
            torchvision.
        output: digest of the function that reads its scores, or of its file; None if none does.
        findings: what its outputs say against it; see ``Classifier``.
    """

    layers: tuple[str, ...]
    weights: str | None = None
    n_classes: int | None = None
    classes: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    source: str | None = None
    output: str | None = None
    findings: tuple[str, ...] = ()


class MethodFacts(Facts):
    """A map method of a run.

    Attributes:
        source: digest of its file.
        paper: its paper; the version of the library if another library makes the maps.
        scope: whether it makes maps of each target layer, or one map of the whole image.
        columns: what it measures of each map.
        sanity: the sanity check that it is; "" for none, None in a run that does not say.
    """

    source: str
    paper: str
    scope: Scope
    columns: tuple[Column, ...] = ()
    sanity: Sanity | Literal[""] | None = None


class NetworkFreeFacts(Facts):
    """A network-free method of a run.

    Attributes:
        source: digest of the file of its code.
        gives: whether it has maps or boxes.
        fingerprint: digest of these maps or boxes.
        baseline: whether its maps or boxes say nothing about the image, as those of a center box;
            None in a run that does not say.
    """

    source: str
    gives: Gives
    fingerprint: str
    baseline: bool | None = None


class MetricFacts(Facts):
    """A metric of a run: all that a reader needs if the metric's code is not installed.

    Attributes:
        source: digest of its file.
        better, range, hits, paper: see ``Metric``.
        column: the column in which a metric per map is stored; None for a metric per image.
    """

    source: str
    better: Better
    range: tuple[float | None, float | None]
    hits: bool
    paper: str
    column: Column | None = None

    @classmethod
    def of(cls, metric: Metric, source: str) -> "MetricFacts":
        """The facts of a metric; an infinite bound becomes None, since JSON has no infinity.

        Args:
            metric: the metric.
            source: digest of its file.
        """
        low, high = (bound if abs(bound) < float("inf") else None for bound in metric.range)
        return cls(
            source=source,
            better=metric.better,
            range=(low, high),
            hits=metric.hits,
            paper=metric.paper,
            column=metric.column,
        )

    def metric(self, name: str) -> Metric:
        """A metric that reads the stored column; it cannot measure new maps."""

        def unknown(*_: object) -> float:
            raise RunError(
                f"metric {name!r} cannot measure new maps, since its code is not installed; "
                "install the package that offers it"
            )

        low, high = self.range
        return Metric(
            name,
            unknown,
            "map",
            self.better,
            (
                float("-inf") if low is None else low,
                float("inf") if high is None else high,
            ),
            hits=self.hits,
            paper=self.paper,
            column=self.column,
        )


class PassSettings(Facts):
    """The settings of a model's passes on a machine; they change results by float noise only.

    Attributes:
        batch_size: the number of images in a batch.
        workers: the number of processes that decode images.
        channels_last: whether the network's memory format is channels last.
        at_once: the number of images in a forward pass: ``batch_size``, or fewer once the memory of
            a GPU ran out.
    """

    batch_size: Annotated[int, Field(ge=1)]
    workers: Annotated[int, Field(ge=0, le=1024)]
    channels_last: bool
    at_once: Annotated[int, Field(ge=1)]
