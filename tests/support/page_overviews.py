"""A small overview of a page, by its contract (assets/types.d.ts), without any run."""

import base64
import json
from pathlib import Path

from wsol_bench.report.page.document import page_html

HOSTILE = '<img src=x onerror="window.ran = 1"><b>cam</b> &lt;%{y}'
OUTCOMES = ("hit", "wrong_class", "no_box", "multi_instance", "part", "too_large", "background")


def number_info(name, *, better="lower", percent=True, shown=True):
    return {
        "name": name,
        "title": name.replace("_", " "),
        "meaning": f"meaning of {name}",
        "better": better,
        "percent": percent,
        "shown": shown,
    }


def value(number, low=None, high=None, *, mark=None, p=None, paper=None):
    return {"value": number, "low": low, "high": high, "mark": mark, "p": p, "paper": paper}


def line(name, values, *, model=0, run=0, kind="method", **fields):
    return {
        "run": run,
        "model": model,
        "method": name,
        "layer": "features",
        "name": name,
        "kind": kind,
        "status": "ok",
        "reason": "",
        "counts": {"n_images": 40, "n_blacklisted": 3},
        "values": values,
        "cost": {"forward": 1, "backward": 6, "head": 0, "seconds": 0.05},
        "threshold": 0.15,
        "selected_threshold": None,
        **fields,
    }


def a_run(name="first", **fields):
    return {
        "name": name,
        "path": f"runs/{name}",
        "experiment": "zoo",
        "dataset": {"name": "imagenet", "n_images": 40, "fingerprint": "f1f2f3"},
        "protocol": {
            "name": "gradcam-2017",
            "hash": "0123456789abcdef",
            "paper": "arXiv:1610.02391",
            "yaml": "name: gradcam-2017\n",
        },
        "kind": "one_box",
        "rule": None,
        "least_iou": 0.5,
        "no_maps": "",
        "versions": {"torch": "2.15.0"},
        "devices": ["cpu"],
        "started": "2026-01-05T09:00:00+00:00",
        "finished": "2026-01-05T09:30:00+00:00",
        "findings": [],
        **fields,
    }


def overview_of(lines, numbers, *, runs=None, models=None, charts=None, **fields):
    """An overview; in its address, a model or line is called by its position or ``key``."""
    models = models or [{"run": 0, "name": "squeezenet", "n_classes": 1000}]
    empty = ("thresholds", "ious", "by_size", "by_instances", "by_class", "failure_modes")
    return {
        "title": "Two models",
        "source": "file",
        "version": "1.0",
        "made": "2026-01-05T10:00:00+00:00",
        "runs": runs or [a_run()],
        "models": [{"key": str(n), **model} for n, model in enumerate(models)],
        "lines": [{"key": str(n), **line} for n, line in enumerate(lines)],
        "numbers": numbers,
        "outcomes": [{"name": name, "title": name, "meaning": ""} for name in OUTCOMES],
        "n_images_of_runs": 0,
        "n_images": 0,
        "sampling": "all images",
        "charts": {name: [] for name in (*empty, "agreement")} | (charts or {}),
        **fields,
    }


def go_to(page, address=""):
    """Show what an address behind "#" says, at once."""
    page.evaluate(
        """(address) => {
            location.hash = address;
            window.dispatchEvent(new HashChangeEvent("hashchange"));
        }""",
        address,
    )


def wait_for_address(page, *parts, without=()):
    """Wait until the page's address says what it shows: parts behind "#", and names it lacks."""
    page.wait_for_function(
        """([parts, without]) => {
            const found = location.hash.slice(1).split("&");
            return parts.every((part) => found.includes(part))
                && !found.some((part) => without.includes(part.split("=")[0]));
        }""",
        arg=[list(parts), list(without)],
    )


def write_page(path: Path, overview):
    """The page of an overview whose runs have no image."""
    blocks = {"overview": overview, "index": _INDEX, "curves": []}
    blocks |= {f"model-{n}": _MODEL for n in range(len(overview["models"]))}
    blocks |= {f"line-{n}": _LINE for n in range(len(overview["lines"]))}
    texts = [(name, json.dumps(block)) for name, block in blocks.items()]
    path.write_text("".join(page_html(overview["title"], texts)), encoding="utf-8")
    return path


def _empty(kind):
    return {"type": kind, "data": base64.b64encode(b"").decode()}


_INDEX = {
    "ids": [],
    "classes": [],
    **{name: _empty("i32") for name in ("label", "height", "width", "n_boxes")},
    "size": _empty("f32"),
    **{name: _empty("u8") for name in ("blacklisted", "held_out")},
}
_MODEL = {
    "evaluated": _empty("u8"),
    **{name: _empty("i32") for name in ("label_rank", "top1")},
    **{name: _empty("f32") for name in ("label_score", "top1_score")},
}
_LINE = {"gt_known": _empty("u8"), "top1": _empty("u8"), "iou": _empty("f32")}
