"""XML annotations of ILSVRC and Pascal VOC: one file, or a whole folder as a table.

The files are untrusted: entities and external references are refused.
"""

import math
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

import defusedxml
import defusedxml.ElementTree
import numpy as np
import pandas as pd

from wsol_bench.datasets.folders import scan, stamp, with_progress
from wsol_bench.datasets.table_cache import TableCache
from wsol_bench.errors import DatasetError

__all__ = ["XML_SUFFIXES", "XmlAnnotation", "XmlObject", "parse_xml", "read_xml_folder"]

XML_SUFFIXES = frozenset({"xml"})


class XmlObject(NamedTuple):
    """An ``<object>`` of an annotation file.

    Attributes:
        name: wnid of its class, rarely words.
        xmin, ymin, xmax, ymax: corners of its box, as they stand in the file.
        difficult: Pascal VOC's flag of objects that are hard to recognize.
    """

    name: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    difficult: bool = False


class XmlAnnotation(NamedTuple):
    """The content of an annotation file.

    Attributes:
        width, height: size in pixels of the image that was annotated, 0 if the file has none.
        objects: objects in the file's order.
    """

    width: float
    height: float
    objects: tuple[XmlObject, ...]


def parse_xml(data: bytes) -> XmlAnnotation:
    """The content of an annotation file, whose elements may stand in any order.

    Raises:
        DatasetError: the XML is not well-formed (truncated) or has entities or external references,
            an object has no name or corners, or a coordinate is not a finite number.
    """
    try:
        root = defusedxml.ElementTree.fromstring(data)
    except ParseError as error:
        raise DatasetError(f"not well-formed XML: {error}") from error
    except defusedxml.DefusedXmlException as error:
        raise DatasetError(
            f"XML with entities or references is refused for safety: {error!r}"
        ) from error
    except (ValueError, LookupError) as error:
        raise DatasetError(f"unreadable XML: {error}") from error
    if root.tag != "annotation":
        raise DatasetError(f"expected the element <annotation>, found <{root.tag}>")
    size = root.find("size")
    width, height = 0.0, 0.0
    if size is not None:
        width, height = _number(size, "width", "0"), _number(size, "height", "0")
    return XmlAnnotation(width, height, tuple(map(_xml_object, root.findall("object"))))


def _xml_object(element: Element) -> XmlObject:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise DatasetError("expected a <name> in every <object>, found an <object> without one")
    box = element.find("bndbox")
    if box is None:
        raise DatasetError(f"expected a <bndbox> in the <object> {name!r}, found none")
    xmin, ymin, xmax, ymax = (_number(box, tag) for tag in ("xmin", "ymin", "xmax", "ymax"))
    difficult = (element.findtext("difficult") or "").strip() == "1"
    return XmlObject(name, xmin, ymin, xmax, ymax, difficult)


def _number(parent: Element, tag: str, default: str | None = None) -> float:
    text = parent.findtext(tag, default)
    if text is None:
        raise DatasetError(f"expected a <{tag}> in <{parent.tag}>, found none")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DatasetError(f"expected a number in <{tag}>, found {text.strip()!r}")
    return value


def read_xml_folder(
    folder: Path, nested: bool, *, wanted: Collection[str] | None, tables: TableCache
) -> pd.DataFrame:
    """The objects in a folder of XML annotations.

    Args:
        folder: folder of files, flat or (``nested``) with one subfolder a class.
        nested: whether to look in the subfolders, too.
        wanted: image ids to read; None reads all.
        tables: cache of the result.

    Returns:
        One row an object: image_id, folder (name of the subfolder, "" if flat), width and height
        (of the annotated image, 0 if the file has none), error (why the file cannot be used, or
        ""), name, xmin, ymin, xmax, ymax (as they stand in the file), difficult. A file without an
        object, or with an error, has one row with an empty name and NaN for numbers.
    """
    files = scan(folder, XML_SUFFIXES, nested=nested, wanted=wanted)
    files = files[files["bytes"] >= 0]

    def read() -> pd.DataFrame:
        no_object = XmlObject("", math.nan, math.nan, math.nan, math.nan)
        objects: list[XmlObject] = []
        sizes_and_errors: list[tuple[float, float, str]] = []
        repeats: list[int] = []
        for file in with_progress(files["file"].tolist(), "reading XML annotations"):
            try:
                parsed = parse_xml((folder / file).read_bytes())
                sizes_and_errors.append((parsed.width, parsed.height, ""))
            except (DatasetError, OSError) as error:
                parsed = XmlAnnotation(0, 0, ())
                sizes_and_errors.append((0, 0, f"{folder / file}: {error}"))
            objects.extend(parsed.objects or (no_object,))
            repeats.append(max(1, len(parsed.objects)))
        names = files[["stem", "folder"]].set_axis(["image_id", "folder"], axis=1)
        of_file = pd.DataFrame(
            sizes_and_errors, columns=["width", "height", "error"], index=names.index
        )
        table = names.join(of_file).loc[np.repeat(names.index, repeats)].reset_index(drop=True)
        numbers = ("width", "height", "xmin", "ymin", "xmax", "ymax")
        return table.join(pd.DataFrame(objects, columns=XmlObject._fields)).astype(
            dict.fromkeys(numbers, np.float64)
            | {"error": "str", "name": "str", "difficult": np.bool_}
        )

    return tables.table("xml", stamp(folder, files), read)
