"""wsol_bench measures how well classifiers and map methods localize objects.

A classifier, a map method, a data set and a protocol give localization maps, boxes and errors:
``run`` evaluates an experiment, ``open_run`` reads a run that was evaluated before,
``localization_maps`` makes maps for a batch of images.

The public names are imported at first use, so that ``import wsol_bench`` is instant.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsol_bench import boxes as boxes
    from wsol_bench.api import check as check
    from wsol_bench.api import convert as convert
    from wsol_bench.api import doctor as doctor
    from wsol_bench.api import leaderboard as leaderboard
    from wsol_bench.api import merge as merge
    from wsol_bench.api import open_run as open_run
    from wsol_bench.api import reproduce as reproduce
    from wsol_bench.api import run as run
    from wsol_bench.capture import Plan as Plan
    from wsol_bench.capture import Record as Record
    from wsol_bench.common.progress import set_verbosity as set_verbosity
    from wsol_bench.datasets import dataset as dataset
    from wsol_bench.methods.base import cam_method as cam_method
    from wsol_bench.methods.localization_maps import localization_maps as localization_maps
    from wsol_bench.metrics.base import metric as metric
    from wsol_bench.photographs import explain as explain
    from wsol_bench.results import Results as Results
    from wsol_bench.runs.experiment_config import load_config as load_config

__version__ = "0.2.0"

_HOMES = {
    "Plan": "wsol_bench.capture",
    "Record": "wsol_bench.capture",
    "Results": "wsol_bench.results",
    "boxes": "wsol_bench.boxes",
    "cam_method": "wsol_bench.methods.base",
    "check": "wsol_bench.api",
    "convert": "wsol_bench.api",
    "dataset": "wsol_bench.datasets",
    "doctor": "wsol_bench.api",
    "explain": "wsol_bench.photographs",
    "leaderboard": "wsol_bench.api",
    "load_config": "wsol_bench.runs.experiment_config",
    "localization_maps": "wsol_bench.methods.localization_maps",
    "merge": "wsol_bench.api",
    "metric": "wsol_bench.metrics.base",
    "open_run": "wsol_bench.api",
    "reproduce": "wsol_bench.api",
    "run": "wsol_bench.api",
    "set_verbosity": "wsol_bench.common.progress",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(
            f"module 'wsol_bench' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    home = importlib.import_module(_HOMES[name])
    return home if _HOMES[name] == f"wsol_bench.{name}" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)
