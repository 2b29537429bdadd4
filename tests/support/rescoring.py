"""Experiments whose stored maps are scored again, and a comparison of two runs."""

from colors import color_experiment, write_colors
from timeless import assert_same_tables


def assert_same(ours, theirs):
    names = ["rows", "images", "curves", "summary"]
    if set(theirs.rows["status"]) != {"not_applicable"}:
        names.append("maps")
    assert_same_tables(ours, theirs, names)


def broken_colors(folder):
    """The color world with a truncated image."""
    root = write_colors(folder / "broken")
    first = min((root / "ILSVRC/Data/CLS-LOC/val").iterdir())
    first.write_bytes(first.read_bytes()[:-40])
    return root


def with_network_free(root, folder):
    """Maps of a network, a baseline, and boxes in a file that covers three of four images."""
    lines = [f"ILSVRC2012_val_{n:08d},n0000000{n} 64 32 150 120" for n in (1, 2, 3)]
    (folder / "boxes.csv").write_text("\n".join(["ImageId,PredictionString", *lines]) + "\n")
    boxes = {"name": "boxes_from", "path": str(folder / "boxes.csv"), "label": "boxes"}
    return color_experiment(root, methods=["cam", "center_gaussian", boxes])
