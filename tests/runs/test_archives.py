"""A run on images in an archive is that on the folder: rows, masks, page, figures, rescoring."""

import multiprocessing
import os

import numpy as np
import pytest
from colors import color_experiment, write_colors, write_masks
from packed import KINDS, pack
from served_page import served
from timeless import assert_same_tables

import wsol_bench
from wsol_bench.common import archives
from wsol_bench.datasets import datasets
from wsol_bench.errors import DatasetError
from wsol_bench.images import loading
from wsol_bench.images.decode import load_image
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.rescore import rescore
from wsol_bench.runs.stored_run import StoredRun

TABLES = ("rows", "curves")
PIXELS = {"name": "choe-2020-pxap", "map": {"upsample": "nearest"}, "pixels": {"step": 0.25}}
pytestmark = pytest.mark.timeout(170)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The color world with boxes, and with masks."""
    home = tmp_path_factory.mktemp("worlds")
    write_colors(home / "boxes")
    write_masks(home / "masks")
    return home


def boxes_in(root, **changes):
    return color_experiment(root, **{"part_size": 2, **changes})


def masks_in(root, **changes):
    dataset = {"name": "wsol_metadata", "metadata": str(root), "images": f"{root}/images"}
    return color_experiment(
        "", dataset=dataset, methods=["cam", "center_gaussian"], protocol=PIXELS, **changes
    )


@pytest.fixture(scope="module")
def expected(folders, tmp_path_factory):
    """The runs on the folders."""
    out = tmp_path_factory.mktemp("expected")
    return {
        "boxes": wsol_bench.run(boxes_in(folders / "boxes", workers=0), out=out / "boxes"),
        "masks": wsol_bench.run(masks_in(folders / "masks", workers=0), out=out / "masks"),
    }


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_the_same_bit_for_bit(folders, expected, tmp_path, kind, workers):
    archive = pack(folders / "boxes", tmp_path / kind)
    run = wsol_bench.run(boxes_in(archive, workers=workers), out=tmp_path / "run")
    assert_same_tables(run, expected["boxes"], ["rows"])
    paths = run.folder.read("images")["path"]
    assert paths.str.startswith(f"{archive}/ILSVRC/").all()
    ours, theirs = (StoredRun(one.path).identity.dataset for one in (run, expected["boxes"]))
    assert ours.fingerprint == theirs.fingerprint


@pytest.mark.parametrize("kind", KINDS[1:])
def test_masks_are_read_in_runs_and_in_rescoring(folders, expected, tmp_path, kind):
    archive = pack(folders / "masks", tmp_path / kind)
    run = wsol_bench.run(masks_in(archive, workers=2), out=tmp_path / "run")
    assert_same_tables(run, expected["masks"], TABLES)
    finer = {**PIXELS, "pixels": {"step": 0.125}}
    assert_same_tables(
        rescore(run.folder, finer, out=tmp_path / "ours"),
        rescore(expected["masks"].folder, finer, out=tmp_path / "theirs"),
        TABLES,
    )


def test_the_page_shows_pictures_and_masks_until_the_archive_changes(folders, expected, tmp_path):
    archive = pack(folders / "masks", tmp_path / "deflated.zip")
    run = wsol_bench.run(masks_in(archive, workers=0), out=tmp_path / "run")
    with served(run.path) as page, served(expected["masks"].path) as other:
        for image in range(4):
            detail, plain = (one.json(f"images/{image}.json") for one in (page, other))
            assert detail == plain
            pictures = [one.ask(f"pictures/{image}.jpg") for one in (page, other)]
            assert [picture.status for picture in pictures] == [200, 200]
            assert pictures[0].content == pictures[1].content
        os.utime(archive, ns=(1, 1))
        assert "was changed since" in page.error("pictures/0.jpg", 500)


def test_an_archive_that_changes_ends_a_run(folders, tmp_path):
    """With an index of another version, bytes of other images would be decoded."""
    archive = pack(folders / "boxes", tmp_path / "plain.tar")
    dataset = datasets.get("imagenet")(root=archive)
    section = load_protocol("gradcam-2017").input
    for workers in (0, 1):
        batches = loading.decoded(dataset, [[0], [1]], section, workers=workers)
        os.utime(archive, ns=(workers, workers))
        with pytest.raises(DatasetError, match="was changed since"):
            list(batches)


def test_a_spawned_process_is_told_the_version_of_an_archive(
    folders, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    """It does not inherit the index, and would take a changed archive for the right one."""
    archive = pack(folders / "boxes", tmp_path / "plain.tar")
    dataset = datasets.get("imagenet")(root=archive)
    section = load_protocol("gradcam-2017").input
    monkeypatch.setattr(loading, "_CONTEXT", multiprocessing.get_context("spawn"))
    [batch] = loading.decoded(dataset, [[0, 1]], section, workers=1)
    assert not batch.unreadable
    decoder = loading._Decoder(dataset.images["path"].tolist(), section, 3)
    monkeypatch.setattr(archives, "_known", {})
    monkeypatch.setattr(archives, "_expected", {})
    os.utime(archive, ns=(1, 1))
    decoder.enter()
    with pytest.raises(DatasetError, match="was changed since"):
        decoder([0])


def test_photographs_and_figures_are_read(folders, expected, tmp_path):
    archive = pack(folders / "boxes", tmp_path / "plain.tar")
    name = "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG"
    found = [
        wsol_bench.explain(f"{root}/{name}", model="shapes_net", methods=["cam"], device="cpu")[0]
        for root in (archive, folders / "boxes")
    ]
    assert found[0].boxes["cam"].tobytes() == found[1].boxes["cam"].tobytes()
    run = wsol_bench.run(boxes_in(archive, workers=0), out=tmp_path / "run")
    ours = run.figures(tmp_path / "ours", formats="png")
    theirs = expected["boxes"].figures(tmp_path / "theirs", formats="png")
    assert [file.name for file in ours] == [file.name for file in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(load_image(one), load_image(other))
