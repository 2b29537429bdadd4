"""The embedded data set of textured shapes on clutter, which is drawn when it is first loaded.

Sixteen classes: four outlines x four textures ("striped star", "dotted star", ...). Neither the
outline nor the texture alone tells the class: images hold a few or many things of no class, such as
a plain or zigzag star, a striped disk, or a patch of dots on the ground. An image holds one to four
instances of its class, from about a tenth of its side to most of it. Gray bars and blobs hide parts
of them, at least half of each remaining in sight.

Image i depends on (seed, split, i) alone, so a longer data set begins with a shorter one.
`write_shapes` writes the layout of ILSVRC CLS-LOC as Kaggle gives it.
"""

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from wsol_bench.common.files import cache_folder
from wsol_bench.common.progress import progress
from wsol_bench.common.temporary import temporary_folder
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.imagenet.loader import imagenet
from wsol_bench.datasets.shapes import paint, scene
from wsol_bench.datasets.shapes.scene import CLASSES, Drawing, draw_image
from wsol_bench.errors import DatasetError

__all__ = ["draw_sample", "shapes", "write_shapes"]


@dataset("shapes")
def shapes(*, split: str = "val", seed: int = 0, n_images: int = 300) -> Dataset:
    """Textured shapes on clutter: an embedded data set, drawn once into the cache folder.

    Args:
        split: name of the split; each split is another drawing.
        seed: seed of the drawing.
        n_images: number of images; image i does not depend on it.

    Raises:
        DatasetError: the cache folder cannot be written to.
    """
    # The key holds the code that draws: a folder drawn by other code is never used.
    sources = (__file__, paint.__file__, scene.__file__)
    code = hashlib.sha256(b"".join(Path(file).read_bytes() for file in sources)).hexdigest()[:8]
    root = cache_folder() / "shapes" / f"{split}-{seed}-{n_images}-{code}"
    if not root.exists():
        try:
            with progress("drawing shapes", n_images, "images") as advance:
                write_shapes(root, split=split, seed=seed, n_images=n_images, advance=advance)
        except OSError as error:
            raise DatasetError(
                f"the embedded data set cannot be written: {error}; set WSOL_BENCH_CACHE to a "
                "folder that can be written to"
            ) from error
    return replace(imagenet(root=root, split=split), name="shapes")


def draw_sample(seed: int, split: str, index: int) -> tuple[int, Drawing]:
    """The label and drawing of image `index` (from 0) of a split.

    The label is a position in `CLASSES`; each block of 16 images holds every class once.
    """
    key = seed, zlib.crc32(split.encode())
    block, place = divmod(index, len(CLASSES))
    label = int(np.random.default_rng((*key, 0, block)).permutation(len(CLASSES))[place])
    rng = np.random.default_rng((*key, 1, index))
    long = rng.uniform(240, 420)
    short = max(180.0, long * rng.uniform(0.6, 1.0))
    height, width = rng.permutation([round(long), round(short)])
    return label, draw_image(rng, label, int(height), int(width))


def write_shapes(
    root: Path,
    *,
    split: str = "val",
    seed: int = 0,
    n_images: int = 300,
    advance: Callable[[int], object] = lambda n: None,
) -> None:
    """Draw a split and write it under `root` in the layout of Kaggle's ILSVRC CLS-LOC folder.

    If `root` exists, nothing is done and its content is not checked: give each (split, seed,
    n_images) another root. The folder appears whole or not at all. Boxes are written as in ILSVRC's
    XML: 0-based inclusive corners.

    Args:
        root: folder to make.
        split, seed, n_images: as in `shapes`.
        advance: function that is called with the number of images drawn since the last call.
    """
    if root.exists():
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(root.parent) as temporary:
        whole = temporary / root.name
        _write(whole, split, seed, n_images, advance)
        try:
            whole.rename(root)
        except OSError:
            if not root.exists():  # else another process was quicker, with the same images
                raise


def _write(
    root: Path, split: str, seed: int, n_images: int, advance: Callable[[int], object]
) -> None:
    images, annotations, lists = (
        root / "ILSVRC" / kind / "CLS-LOC" for kind in ("Data", "Annotations", "ImageSets")
    )
    for folder in (images / split, annotations / split, lists):
        folder.mkdir(parents=True)
    ids = [f"shapes_{split}_{i + 1:08d}" for i in range(n_images)]
    solution = ["ImageId,PredictionString"]
    for i, image_id in enumerate(ids):
        label, drawing = draw_sample(seed, split, i)
        wnid = CLASSES[label][0]
        Image.fromarray(drawing.image).save(images / split / f"{image_id}.JPEG", quality=95)
        xml = _annotation(image_id, split, wnid, drawing)
        (annotations / split / f"{image_id}.xml").write_text(xml)
        boxes = "".join(f"{wnid} {x0} {y0} {x1} {y1} " for x0, y0, x1, y1 in drawing.boxes)
        solution.append(f"{image_id},{boxes}")
        advance(1)
    (lists / f"{split}.txt").write_text(
        "".join(f"{image_id} {i + 1}\n" for i, image_id in enumerate(ids))
    )
    (root / f"LOC_{split}_solution.csv").write_text("\n".join(solution) + "\n")
    mapping = "".join(f"{wnid} {words}\n" for wnid, words in CLASSES)
    (root / "LOC_synset_mapping.txt").write_text(mapping)


def _annotation(image_id: str, split: str, wnid: str, drawing: Drawing) -> str:
    height, width, _ = drawing.image.shape
    return _ANNOTATION.format(
        split=split,
        image_id=image_id,
        width=width,
        height=height,
        objects="".join(
            _OBJECT.format(wnid=wnid, xmin=x0, ymin=y0, xmax=x1, ymax=y1)
            for x0, y0, x1, y1 in drawing.boxes
        ),
    )


_ANNOTATION = """\
<annotation>
\t<folder>{split}</folder>
\t<filename>{image_id}</filename>
\t<source>
\t\t<database>shapes</database>
\t</source>
\t<size>
\t\t<width>{width}</width>
\t\t<height>{height}</height>
\t\t<depth>3</depth>
\t</size>
\t<segmented>0</segmented>
{objects}</annotation>
"""
_OBJECT = """\
\t<object>
\t\t<name>{wnid}</name>
\t\t<pose>Unspecified</pose>
\t\t<truncated>0</truncated>
\t\t<difficult>0</difficult>
\t\t<bndbox>
\t\t\t<xmin>{xmin}</xmin>
\t\t\t<ymin>{ymin}</ymin>
\t\t\t<xmax>{xmax}</xmax>
\t\t\t<ymax>{ymax}</ymax>
\t\t</bndbox>
\t</object>
"""
