"""A data set inside of an archive is the data set of the folder that was packed, odd or not."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imagenet_roots import WORLD as IMAGENET
from imagenet_roots import annotations_only, kaggle, picture, same, write_images
from loader_worlds import WORLDS, World
from packed import KINDS, archive_of, pack, pack_by_command
from PIL import Image

from wsol_bench.common import data_files
from wsol_bench.datasets import Dataset, datasets
from wsol_bench.datasets.imagenet.loader import imagenet
from wsol_bench.errors import DatasetError, ImageError
from wsol_bench.images.decode import load_image

each_kind = pytest.mark.parametrize("kind", KINDS)
each_world = pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)


def first_image(root: Path) -> Path:
    """The first image file of a world, or else its first file."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    images = [path for path in files if path.suffix in (".JPEG", ".jpg")]
    return (images or files)[0]


def undisturbed(root: Path) -> None:
    """Nothing is odd."""


def missing(root: Path) -> None:
    first_image(root).unlink()


def empty(root: Path) -> None:
    first_image(root).write_bytes(b"")


def cut_off(root: Path) -> None:
    path = first_image(root)
    path.write_bytes(path.read_bytes()[:30])


def in_capitals(root: Path) -> None:
    path = first_image(root)
    path.rename(path.with_suffix(path.suffix.upper()))


def with_companions(root: Path) -> None:
    """As macOS makes them."""
    path = first_image(root)
    shutil.copy(path, path.with_name(f"._{path.name}"))
    (path.parent / ".DS_Store").write_bytes(b"")


def with_two_of_a_stem(root: Path) -> None:
    path = first_image(root)
    shutil.copy(path, path.with_suffix(".png"))


def turned(root: Path) -> None:
    """By EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = first_image(root)
    with Image.open(path) as image:
        image.convert("RGB").save(path, "JPEG", exif=exif)


def without_a_list(root: Path) -> None:
    lists = sorted(path for path in root.rglob("*.txt"))
    if lists:
        lists[0].write_bytes(b"\xff\xfe")


ODDITIES = [
    missing, empty, cut_off, in_capitals, with_companions, with_two_of_a_stem, turned,
    without_a_list,
]  # fmt: skip


def outcome(load: Callable[[], Dataset], root: Path) -> tuple[Dataset | None, list[Any]]:
    """A data set and all that it says, or the error, with ROOT for the root."""
    try:
        loaded = load()
    except DatasetError as error:
        # A folder lists its files in any order.
        text = re.sub(r"'[^']*' and '[^']*' share", "two files share", str(error))
        return None, [text.replace(str(root), "ROOT")]
    said = [
        loaded.fingerprint,
        [str(path).replace(str(root), "ROOT") for path in loaded.images["path"]],
        [(*finding[:2], finding[2].replace(str(root), "ROOT")) for finding in loaded.findings],
        [[str(path).replace(str(root), "ROOT") for path in mask.paths] for mask in loaded.masks],
    ]
    return loaded, said


# All layouts as they should be, and what is odd in some of them; stored zip files take another way
# than deflated ones below the loaders only.
_SOME = ("imagenet, kaggle, XML", "voc", "wsol_metadata, masks", "table, CSV")
CASES = [
    pytest.param(world, kind, disturb, id=f"{world.name}, {kind}, {disturb.__name__}")
    for world in WORLDS
    for disturb in (undisturbed, *(ODDITIES if world.name in _SOME else ()))
    for kind in KINDS[1:]
]


@pytest.mark.parametrize(("world", "kind", "disturb"), CASES)
def test_what_is_true_of_a_folder_is_true_of_its_archive(
    world: World, kind: str, disturb: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    world.write(folder, world.stems, world.suffix)
    disturb(folder)
    archive = pack(folder, tmp_path / kind)
    expected, said = outcome(lambda: world.load(folder), folder)
    found, said_of_archive = outcome(lambda: world.load(archive), archive)
    assert said_of_archive == said
    if expected is None or found is None:
        assert found is expected
        return
    # The paths were compared.
    images = found.images.assign(path=expected.images["path"])
    assert images.equals(expected.images)
    assert found.classes.equals(expected.classes)
    assert found.boxes.tobytes() == expected.boxes.tobytes()
    assert found.box_labels.tolist() == expected.box_labels.tolist()
    for ours, theirs in zip(found.images["path"], expected.images["path"], strict=True):
        if theirs:
            assert pixels(ours) == pixels(theirs)


def pixels(path: str) -> bytes | str:
    try:
        return load_image(Path(path)).tobytes()
    except ImageError:
        return "unreadable"


@each_world
def test_init_sees_the_same(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    world.write(folder, world.stems, world.suffix)
    archive = pack(folder, tmp_path / KINDS[WORLDS.index(world) % len(KINDS)])
    recognize = datasets.get(world.name.partition(",")[0]).recognize
    assert recognize is not None
    expected = str(recognize(folder)).replace(str(folder), "ROOT")
    assert str(recognize(archive)).replace(str(archive), "ROOT") == expected
    assert recognize(archive).fits


@each_kind
def test_a_root_may_lie_below_the_archive(kind: str, tmp_path: Path) -> None:
    kaggle(tmp_path / "parent" / "below")
    archive = pack(tmp_path / "parent", tmp_path / kind)
    loaded = imagenet(root=archive / "below")
    expected = imagenet(root=tmp_path / "parent" / "below")
    assert loaded.fingerprint == expected.fingerprint
    assert loaded.findings == expected.findings


def test_pieces_may_lie_in_several_archives(tmp_path: Path) -> None:
    """The official tar file of the images is flat; the annotations lie elsewhere."""
    write_images(tmp_path / "images")
    annotations_only(tmp_path / "root")
    images = pack_by_command(tmp_path / "images", tmp_path / "ILSVRC2012_img_val.tar")
    root = pack_by_command(tmp_path / "root", tmp_path / "root.zip")
    expected = imagenet(root=tmp_path / "root", images=tmp_path / "images")
    for options in ({"root": root}, {"root": tmp_path / "root"}):
        loaded = imagenet(**options, images=images)
        assert loaded.fingerprint == expected.fingerprint
        assert loaded.images["path"].str.startswith(f"{images}/ILSVRC2012_val_").all()
        assert len(loaded) == len(IMAGENET)


def test_an_archive_beside_its_unpacked_folder_is_not_read(tmp_path: Path) -> None:
    """Only an option leads into an archive; what a root holds is found as it always was."""
    root = kaggle(tmp_path / "root")
    expected = imagenet(root=root)
    for name in ("bbox_val.zip", "ILSVRC2012_devkit_t12.tar", "ILSVRC2012_img_val.tar"):
        (root / name).write_bytes(b"no archive")
    assert same(imagenet(root=root), expected)


def test_a_tar_file_of_tar_files_is_refused(tmp_path: Path) -> None:
    """As ILSVRC2012_img_train.tar is one."""
    annotations_only(tmp_path)
    train = archive_of(tmp_path / "train.tar", {"n01440764.tar": b"", "n02012849.tar": b""})
    with pytest.raises(DatasetError, match=r"which holds n01440764\.tar, n02012849\.tar"):
        imagenet(root=tmp_path, images=train)
    with pytest.raises(DatasetError, match="archives in archives are not read: unpack it first"):
        imagenet(root=tmp_path, images=train / "n01440764.tar")


class TestDamage:
    def test_a_damaged_image_is_a_finding_and_a_damaged_archive_an_error(
        self, tmp_path: Path
    ) -> None:
        root = pack(kaggle(tmp_path / "folder"), tmp_path / "stored.zip")
        loaded = imagenet(root=root)
        path = Path(loaded.images["path"][2])  # of a size of its own
        content = data_files.read_bytes(path)
        packed = root.read_bytes()
        assert packed.count(content) == 1
        root.write_bytes(packed.replace(content, content[:-20] + bytes(20)))
        with pytest.raises(DatasetError, match="expected the archive as it was") as caught:
            load_image(path)
        assert not isinstance(caught.value, ImageError)
        imagenet(root=root)
        with pytest.raises(ImageError, match="wrong checksum"):
            load_image(path)
        root.write_bytes(packed[:-1000])
        with pytest.raises(DatasetError, match=r"stored\.zip: expected a zip file"):
            imagenet(root=root)

    def test_an_image_of_too_many_pixels_is_refused_before_it_is_unpacked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        picture(tmp_path / "folder/large.png", (2000, 1000), format="PNG")
        archive = pack(tmp_path / "folder", tmp_path / "deflated.zip")
        monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 1_500_000)
        with pytest.raises(ImageError, match="expected at most 1500000 pixels"):
            load_image(archive / "large.png")


def test_times_and_sizes_tell_whether_an_archive_was_read(tmp_path: Path) -> None:
    """The cache of headers knows another archive of the same names by its time."""
    folder, archive = tmp_path / "folder", tmp_path / "plain.tar"
    kaggle(folder)
    before = imagenet(root=pack(folder, archive))
    for path in folder.rglob("*.JPEG"):
        picture(path, (40, 50))
    after = imagenet(root=pack(folder, archive))
    os.utime(archive, ns=(7, 7))
    assert imagenet(root=archive).images.equals(after.images)
    assert not np.array_equal(before.images["height"], after.images["height"])
