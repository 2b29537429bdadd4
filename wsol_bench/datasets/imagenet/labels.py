"""The labels of ImageNet images, from folders, the devkit, the solution CSV or XML files."""

import numpy as np
import pandas as pd

from wsol_bench.datasets.findings import Finding, Kind

__all__ = ["labels_of", "labels_with_xml"]


def labels_of(
    images: pd.DataFrame, devkit: np.ndarray, solution: pd.DataFrame
) -> tuple[np.ndarray, list[Finding]]:
    """The label of each image from its folder, else the devkit, else the CSV; "" if unknown.

    Args:
        images: table of a ``Listing``.
        devkit: wnid of each image by the devkit, "" if unknown.
        solution: objects of the solution CSV.

    Returns:
        The labels, and findings of images whose folder contradicts the devkit.
    """
    labels = images["folder"].to_numpy(object)
    findings = []
    for index in np.flatnonzero((labels != "") & (devkit != "") & (labels != devkit)):
        detail = f"in folder {labels[index]}, but the devkit's ground truth says {devkit[index]}"
        findings.append(Finding(Kind.LABEL_MISMATCH, images["image_id"].iloc[index], detail))
    labels = np.where(labels == "", devkit, labels)
    first = solution.drop_duplicates("image_id")
    row = pd.Index(first["image_id"]).get_indexer(images["image_id"])
    names = np.append(first["name"].to_numpy(object), "")  # row -1: not in the CSV
    return np.where(labels == "", names[row], labels), findings


def labels_with_xml(
    images: pd.DataFrame, objects: pd.DataFrame, classes: pd.DataFrame
) -> pd.Series:
    """The label of each image, from its XML file if it is still unknown.

    The label is the XML file's subfolder, or else the class of its objects if all have one class.

    Args:
        images: label, and xml_folder if the boxes come from XML files.
        objects: one row a box: image (position in ``images``), wnid.
        classes: table of ``read_class_table``.
    """
    labels = images["label"].to_numpy(object, copy=True)
    if "xml_folder" in images and (labels == "").any():
        folders = images["xml_folder"].to_numpy(object)
        is_class = pd.Series(folders).isin(classes["wnid"])
        labels = np.where((labels == "") & is_class, folders, labels)
        wnids = objects[objects["wnid"] != ""].groupby("image")["wnid"].agg(["first", "nunique"])
        only = wnids[(wnids["nunique"] == 1) & (labels[wnids.index] == "")]
        labels[only.index] = only["first"]
    return pd.Series(labels, dtype="str")
