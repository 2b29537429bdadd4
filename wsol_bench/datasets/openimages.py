"""The data set OpenImages30k (Choe et al., CVPR 2020), with instance masks instead of boxes."""

from dataclasses import replace
from pathlib import Path

from wsol_bench.common import data_files
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.recognition import Recognition, n_lines
from wsol_bench.datasets.wsol_metadata import lists_masks, wsol_metadata
from wsol_bench.errors import DatasetError

__all__ = ["openimages"]

# Folders in a checkout of wsolevaluation with its data, or in what its scripts unpack.
_METADATA = ("metadata/OpenImages/{}", "OpenImages/metadata/{}", "metadata/{}")
_IMAGES = ("dataset/OpenImages", "OpenImages", ".")


def _recognize(root: Path) -> Recognition:
    """See ``Recognition``: metadata and images of a split, in one of the usual places."""
    for split in ("test", "val", "train"):
        metadata = [root / place.format(split) / "image_ids.txt" for place in _METADATA]
        lists = [path for path in metadata if data_files.is_file(path)]
        needs = {
            "metadata/OpenImages/<split>/image_ids.txt": bool(lists),
            "dataset/OpenImages/<split>": any(
                data_files.is_dir(root / place / split) for place in _IMAGES
            ),
        }
        if all(needs.values()):
            seen = (f"{n_lines(lists[0])} images in {lists[0].relative_to(root)}",)
            masks = lists_masks(lists[0].with_name("localization.txt"))
            options = {"root": str(root), "split": split}
            return Recognition(needs, options, seen, masks=masks)
    return Recognition(needs, {})


@dataset("openimages", recognize=_recognize)
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
    """OpenImages30k (Choe et al., CVPR 2020): 100 classes, instance masks instead of boxes.

    The layout is that of wsolevaluation's scripts: masks lie beside their images,
    ``<split>/<class>/<image>_*.png``. The loader is ``wsol_metadata`` with its folders found under
    the root.

    Args:
        root: checkout of wsolevaluation with its ``dataset`` and ``metadata``, or a folder of the
            three splits' images with ``metadata/<split>`` beside them.
        split: "test", "val", or "train", which has no masks.
        metadata: folder of the split's image_ids.txt; found under the root by default.
        images: folder of the splits' folders; found under the root by default.
        masks: folder of the splits' folders of masks; the images' folder by default.
        classes: file with an OpenImages id and words a line; by default classes are numbers.
        cache: whether to keep the sizes read from image headers for the next load.

    Raises:
        DatasetError: a folder is missing, or ``wsol_metadata`` raises it.
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


def _first(candidates: list[Path], inner: str, contents: str, option: str) -> Path:
    """The first folder that holds ``inner``; DatasetError if none does."""
    for folder in candidates:
        if data_files.exists(folder / inner):
            return folder
    places = ", ".join(str(folder / inner) for folder in candidates)
    raise DatasetError(
        f"expected {contents} in one of {places}, found none of them; "
        f"if the folder lies elsewhere, name it with the option {option!r}"
    )
