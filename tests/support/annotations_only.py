"""A data set without a pixel, in the layout "annotations only" of docs/datasets.md."""

from pathlib import Path

# Sorted by wnid; the devkit's IDs are in another order.
IDS = {"n00000001": 2, "n00000002": 1}
WNIDS = tuple(IDS)
# (height, width), class, half-open boxes in pixels; the last image is on the blacklist.
IMAGES = (
    ((100, 200), 0, [(20, 10, 180, 90)]),
    ((333, 500), 1, [(111, 58, 391, 333), (0, 0, 50, 40)]),
    ((224, 224), 0, [(50, 60, 190, 170)]),
    ((64, 64), 1, [(0, 0, 20, 20), (30, 25, 64, 60)]),
    ((375, 500), 0, [(100, 75, 400, 300)]),
    ((375, 281), 1, [(3, 5, 281, 367)]),
    ((500, 500), 0, [(240, 230, 270, 260)]),
)


def image_id(number: int) -> str:
    """The id of the n-th image, from 1."""
    return f"ILSVRC2012_val_{number:08d}"


def write_annotations_only(root: Path, *, images=IMAGES, sizes: bool = True) -> Path:
    """Write the ground truth of some images under ``root``; returns it."""
    root.mkdir(parents=True)
    solution, labels, lines = ["ImageId,PredictionString"], [], ["file,width,height"]
    for number, ((height, width), label, boxes) in enumerate(images, 1):
        groups = [f"{WNIDS[label]} {x0} {y0} {x1 - 1} {y1 - 1}" for x0, y0, x1, y1 in boxes]
        solution.append(f"{image_id(number)},{' '.join(groups)} ")
        labels.append(str(IDS[WNIDS[label]]))
        lines.append(f"{image_id(number)}.JPEG,{width},{height}")
    synsets = [f"{IDS[wnid]},{wnid},{index},words" for index, wnid in enumerate(WNIDS)]
    files = {
        "LOC_val_solution.csv": solution,
        "synsets.csv": ["ilsvrc2012_id,wnid,sorted_index,words", *synsets],
        "ILSVRC2012_validation_ground_truth.txt": labels,
        "ILSVRC2014_clsloc_validation_blacklist.txt": [str(len(images))],
        **({"image_sizes.csv": lines} if sizes else {}),
    }
    for name, content in files.items():
        (root / name).write_text("\n".join(content) + "\n")
    return root


def without_model(root: Path, *methods, protocol="gradcam-2017", **changes) -> dict:
    """An experiment on a data set without images, with network-free methods."""
    return {
        "name": "elsewhere",
        "dataset": {"name": "imagenet", "root": str(root)},
        "methods": list(methods),
        "protocol": protocol,
        "part_size": 3,
        "batch_size": 2,
        **changes,
    }
