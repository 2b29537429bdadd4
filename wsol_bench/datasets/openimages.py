"""OpenImages30k (Choe et al., CVPR 2020): 100 classes, instance masks instead of boxes."""

from dataclasses import replace
from pathlib import Path

from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.wsol_metadata import wsol_metadata
from wsol_bench.errors import DatasetError

__all__ = ["openimages"]

# As in a checkout of wsolevaluation with its data, or only what its scripts unpack.
_METADATA = ("metadata/OpenImages/{}", "OpenImages/metadata/{}", "metadata/{}")
_IMAGES = ("dataset/OpenImages", "OpenImages", ".")


@dataset("openimages")
def openimages(
    *,
    root: Path,
    split: str = "test",
    metadata: Path | None = None,
    images: Path | None = None,
    masks: Path | None = None,
    classes: Path | None = None,
    cache: bool = True,
) -> Dataset:
    """OpenImages30k as wsolevaluation's scripts lay it out, for pixel metrics.

    Masks lie beside their images, ``<split>/<class>/<image>_*.png``. It is ``wsol_metadata`` with
    its folders found under the root.

    Args:
        root: a checkout of wsolevaluation with its ``dataset`` and ``metadata``, or a folder of
            the three splits' images with ``metadata/<split>`` beside them.
        split: "test", "val", or "train", which has no masks.
        metadata: folder of the split's image_ids.txt, where it is not under the root.
        images: folder of the splits' folders, where it is not under the root.
        masks: folder of the splits' folders of masks, where they do not lie among the images.
        classes: file with an OpenImages id and words a line; None: classes are numbers.
        cache: keep what was read of the images' headers, for the next load.

    Raises:
        DatasetError: no such folders, or what ``wsol_metadata`` raises.
    """
    root = Path(root).expanduser()
    if metadata is None:
        candidates = [root / pattern.format(split) for pattern in _METADATA]
        metadata = _first(candidates, "image_ids.txt", f"metadata of split {split!r}", "metadata")
    if images is None:
        candidates = [root / pattern for pattern in _IMAGES]
        images = _first(candidates, split, f"images of split {split!r}", "images")
    loaded = wsol_metadata(
        metadata=metadata, images=images, masks=masks, classes=classes, cache=cache
    )
    return replace(loaded, name="openimages")


def _first(candidates: list[Path], inner: str, what: str, option: str) -> Path:
    for folder in candidates:
        if (folder / inner).exists():
            return folder
    looked = ", ".join(str(folder / inner) for folder in candidates)
    raise DatasetError(
        f"no {what} found; looked for {looked}; the option {option!r} names a folder elsewhere"
    )
