"""A user's folder of modules, which are forgotten at the end, so that no other test sees them."""

import importlib
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from wsol_bench.methods.base import cam_methods
from wsol_bench.metrics.base import metrics


@contextmanager
def importable(folder):
    """Put a folder on the path; at the end, remove its modules and what they registered."""
    root = Path(folder).resolve()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(folder), *sys.path])
        for registry in (cam_methods, metrics):
            # A built-in module registers once, when it is imported: that must not be forgotten.
            for name in registry.catalog.built_in:
                registry.get(name)
            patch.setattr(registry, "_plugins", {**registry._plugins})
            patch.setattr(registry.catalog, "registered", {*registry.catalog.registered})
        importlib.invalidate_caches()
        try:
            yield folder
        finally:
            for name, module in list(sys.modules.items()):
                file = getattr(module, "__file__", None)
                if file and root in Path(file).resolve().parents:
                    del sys.modules[name]
