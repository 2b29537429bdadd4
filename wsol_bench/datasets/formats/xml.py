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

from wsol_bench.common import data_files
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.findings import Finding, Kind
from wsol_bench.datasets.folders import scan, stamp, with_progress
from wsol_bench.errors import DatasetError

__all__ = [
    "XML_SUFFIXES",
    "XmlAnnotation",
    "XmlObject",
    "parse_xml",
    "read_xml_folder",
    "xml_findings",
]

XML_SUFFIXES = frozenset({"xml"})


class XmlObject(NamedTuple):
    """An ``<object>`` of an annotation file.

    Attributes:
        name: wnid of its class, rarely words.
        xmin, ymin, xmax, ymax: corners of its box, as they stand in the file; NaN if the object
            cannot be used.
        difficult: Pascal VOC's flag of objects that are hard to recognize.
        fault: why the object cannot be used; "" if it can.
    """

    name: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    difficult: bool = False
    fault: str = ""


class XmlAnnotation(NamedTuple):
    """The content of an annotation file.

    Attributes:
        width, height: size in pixels of the image that was annotated, 0 if the file has none.
        objects: objects in the file's order.
        odd_size: why the size in the file cannot be used; "" if it can, or if there is none.
    """

    width: float
    height: float
    objects: tuple[XmlObject, ...]
    odd_size: str = ""


def parse_xml(data: bytes) -> XmlAnnotation:
    """The content of an annotation file, whose elements may stand in any order.

    An object without a name or a corner, or with a corner that is not a finite number, has a
    ``fault``; the other objects and the size do not depend on it.

    Raises:
        DatasetError: the XML is not well-formed (truncated), has entities or external references,
            or is no annotation.
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
    objects = tuple(map(_xml_object, root.findall("object")))
    size = root.find("size")
    if size is None:
        return XmlAnnotation(0, 0, objects)
    try:
        width, height = _number(size, "width", "0"), _number(size, "height", "0")
    except _FaultError as error:
        return XmlAnnotation(0, 0, objects, str(error))
    if min(width, height) < 0:
        return XmlAnnotation(0, 0, objects, f"expected a size, found {width:g} x {height:g}")
    return XmlAnnotation(width, height, objects)


class _FaultError(Exception):
    """An element does not hold what it should; the message says what it holds."""


def _xml_object(element: Element) -> XmlObject:
    name = (element.findtext("name") or "").strip()
    difficult = (element.findtext("difficult") or "").strip() == "1"
    try:
        if not name:
            raise _FaultError("expected a <name> in every <object>, found an <object> without one")
        box = element.find("bndbox")
        if box is None:
            raise _FaultError(f"expected a <bndbox> in the <object> {name!r}, found none")
        xmin, ymin, xmax, ymax = (_number(box, tag) for tag in ("xmin", "ymin", "xmax", "ymax"))
    except _FaultError as error:
        nan = math.nan
        return XmlObject(name, nan, nan, nan, nan, difficult, str(error))
    return XmlObject(name, xmin, ymin, xmax, ymax, difficult)


def _number(parent: Element, tag: str, default: str | None = None) -> float:
    text = parent.findtext(tag, default)
    if text is None:
        raise _FaultError(f"expected a <{tag}> in <{parent.tag}>, found none")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _FaultError(f"expected a number in <{tag}>, found {text.strip()[:80]!r}")
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
        ""), odd_size, and the columns of ``XmlObject``. A file without an object, or with an error,
        has one row with an empty name and NaN for corners.
    """
    files = scan(folder, XML_SUFFIXES, nested=nested, wanted=wanted)
    files = files[files["bytes"] >= 0]

    def read() -> pd.DataFrame:
        no_object = XmlObject("", math.nan, math.nan, math.nan, math.nan)
        objects: list[XmlObject] = []
        of_files: list[tuple[float, float, str, str]] = []
        repeats: list[int] = []
        for file in with_progress(files["file"].tolist(), "reading XML annotations"):
            try:
                parsed = parse_xml(data_files.read_bytes(folder / file))
                of_files.append((parsed.width, parsed.height, "", parsed.odd_size))
            except (DatasetError, OSError) as error:
                parsed = XmlAnnotation(0, 0, ())
                of_files.append((0, 0, f"{folder / file}: {error}", ""))
            objects.extend(parsed.objects or (no_object,))
            repeats.append(max(1, len(parsed.objects)))
        names = files[["stem", "folder"]].set_axis(["image_id", "folder"], axis=1)
        columns = ["width", "height", "error", "odd_size"]
        of_file = pd.DataFrame(of_files, columns=columns, index=names.index)
        table = names.join(of_file).loc[np.repeat(names.index, repeats)].reset_index(drop=True)
        numbers = ("width", "height", "xmin", "ymin", "xmax", "ymax")
        return table.join(pd.DataFrame(objects, columns=XmlObject._fields)).astype(
            dict.fromkeys(numbers, np.float64)
            | dict.fromkeys(("error", "odd_size", "name", "fault"), "str")
            | {"difficult": np.bool_}
        )

    return tables.table("xml", stamp(folder, files), read)


def xml_findings(objects: pd.DataFrame) -> list[Finding]:
    """Findings of the files, sizes and objects in a folder of XML files that cannot be used.

    Args:
        objects: rows of ``read_xml_folder``.
    """
    files = objects.drop_duplicates("image_id")
    unusable = (
        (Kind.BAD_ANNOTATION, files, "error", "left out"),
        (Kind.UNKNOWN_SIZE, files, "odd_size", "boxes taken as pixels of the image"),
        (Kind.UNKNOWN_CLASS, objects[objects["name"] == ""], "fault", "object left out"),
        (Kind.ODD_BOX, objects[objects["name"] != ""], "fault", "object dropped"),
    )
    return [
        Finding(kind, image_id, f"{reason}; {outcome}")
        for kind, rows, column, outcome in unusable
        for image_id, reason in zip(rows["image_id"], rows[column], strict=True)
        if reason
    ]
