"""Runs that can be ranked by hand: prediction files of which a known number of boxes are hits."""

import pandas as pd

import wsol_bench

N_IMAGES = 8
_RIGHT, _WRONG = "10 10 59 59", "0 0 4 4"


def write_truth(folder, name="truth"):
    """The table of a data set: eight images of class a with one box each; its path."""
    path = folder / f"{name}.parquet"
    lines = [
        {"image": f"{number}.jpg", "label": "a", "width": 100, "height": 100,
         "x0": 10.0, "y0": 10.0, "x1": 60.0, "y1": 60.0}
        for number in range(N_IMAGES)
    ]  # fmt: skip
    pd.DataFrame(lines).to_parquet(path)
    return path


def boxes_with(folder, n_hits, label):
    """A method of prediction files whose first boxes are hits.

    Its top-1 and GT-known localization errors are ``1 - n_hits / 8``.
    """
    path = folder / f"hits{n_hits}.csv"
    lines = [
        f"{number}.jpg,a {_RIGHT if number < n_hits else _WRONG}" for number in range(N_IMAGES)
    ]
    path.write_text("\n".join(["ImageId,PredictionString", *lines]) + "\n")
    return {"name": "boxes_from", "path": str(path), "label": label}


def experiment(folder, hits, **changes):
    """An experiment without a model.

    Args:
        folder: where its files are written.
        hits: for each method by its label, the number of hits.
        changes: keys of the experiment.
    """
    return {
        "name": "counted",
        "dataset": {
            "name": "table",
            "path": str(write_truth(folder)),
            "convention": "half_open",
        },
        "methods": [*(boxes_with(folder, n, label) for label, n in hits.items()), "full_image"],
        "protocol": "gradcam-2017",
        "metrics": [],
        **changes,
    }


def counted_run(folder, out, hits, **changes):
    """The finished run of such an experiment."""
    return wsol_bench.run(experiment(folder, hits, **changes), out=out).folder
