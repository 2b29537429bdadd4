"""The contract of all loaders: one thing is odd, its image is treated as docs/datasets.md says.

The other images keep their boxes, masks and labels. What a disturbance does stands in one table for
all loaders; where a loader differs, its line says why.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from loader_worlds import BOXES, FORMATS, WORLDS, World, picture

from wsol_bench.datasets import Dataset
from wsol_bench.errors import DatasetError, ImageError
from wsol_bench.images.decode import load_image

ODD = 1  # the image whose file, name or annotation is odd: the second of the first class
LEFT_OUT = {"missing_file", "unreadable_image", "bad_annotation", "no_label"}

each_world = pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
with_images = pytest.mark.parametrize(
    "world", [world for world in WORLDS if world.image], ids=lambda world: world.name
)
with_lines = pytest.mark.parametrize(
    "world", [world for world in WORLDS if world.begin], ids=lambda world: world.name
)
each_list = pytest.mark.parametrize(
    ("world", "path"),
    [
        pytest.param(world, path, id=f"{world.name}: {path.rpartition('/')[2]}")
        for world in WORLDS
        for path in (*world.required, *world.optional)
    ],
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[World], Path]:
    """A folder of each world, written once."""
    folders = {}

    def of(world: World) -> Path:
        if world.name not in folders:
            folders[world.name] = tmp_path_factory.mktemp("world")
            world.write(folders[world.name], world.stems, world.suffix)
        return folders[world.name]

    return of


@pytest.fixture
def root(world: World, undisturbed: Callable[[World], Path], tmp_path: Path) -> Path:
    """A copy of a world, to be disturbed."""
    return shutil.copytree(undisturbed(world), tmp_path / "root")


@pytest.fixture
def require_outcome(
    world: World, undisturbed: Callable[[World], Path], root: Path
) -> Callable[[str], None]:
    """Assert what became of the odd image, and that the others are as in the world undisturbed.

    The argument lists the kinds of findings of the odd image; "not listed": nothing tells that it
    is missing; "": nothing may change.
    """

    def require(outcome: str) -> None:
        expected = state(world, undisturbed(world))
        loaded = world.load(root)
        odd = ids(world)[ODD]
        kinds = set() if outcome == "not listed" else set(outcome.split())
        if outcome == "not listed" or kinds & LEFT_OUT:
            del expected[odd]
        elif "no_box" in kinds:
            expected[odd] = expected[odd]._replace(boxes=[], masks=[])
        assert state_of(loaded, root) == expected
        assert {finding.kind for finding in loaded.findings} == kinds
        assert all(world.stems[ODD] in finding.image_id for finding in loaded.findings)

    return require


class State(NamedTuple):
    """The ground truth of an image."""

    label: str
    boxes: list[list[float]]
    masks: list[str]


def state_of(loaded: Dataset, root: Path) -> dict[str, State]:
    return {
        image.image_id: State(
            image.label,
            image.boxes.tolist(),
            [str(file.relative_to(root)) for file in (image.mask.foreground if image.mask else ())],
        )
        for image in loaded
    }


_states: dict[str, dict[str, State]] = {}


def state(world: World, root: Path) -> dict[str, State]:
    """The ground truth of a world, loaded once."""
    if world.name not in _states:
        _states[world.name] = state_of(world.load(root), root)
    return dict(_states[world.name])


def ids(world: World, stems: tuple[str, ...] = (), suffix: str = "") -> list[str]:
    stems, suffix = stems or world.stems, suffix or world.suffix
    return [world.place(world.image_id, index, stem, suffix) for index, stem in enumerate(stems)]


def path_of(world: World, root: Path, pattern: str) -> Path:
    return root / odd_of(world, pattern)


def odd_of(world: World, pattern: str) -> str:
    return world.place(pattern, ODD, world.stems[ODD], world.suffix)


# ---- the world undisturbed


@each_world
def test_the_real_format_is_loaded_without_a_finding(world: World, root: Path) -> None:
    loaded = world.load(root)
    assert loaded.findings == ()
    assert sorted(loaded.images["image_id"]) == sorted(ids(world))
    found = [state_of(loaded, root)[image_id] for image_id in ids(world)]
    assert found[0].label == found[1].label != found[2].label == found[3].label
    for image, boxes in zip(found, BOXES, strict=True):
        # CUB has one box an image.
        shown = boxes[:1] if world.name == "cub" else boxes
        assert len(image.masks) == (len(shown) if loaded.masks else 0)
        assert image.boxes == ([] if loaded.masks else [list(map(float, box)) for box in shown])


# ---- one image is odd


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def content(text: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text)


def in_format(name: str) -> Callable[[Path], object]:
    return lambda path: picture(path, format=name)


# Where a loader differs from the others. Without a list of the images, a file that is not there is
# no image of the data set; the same holds for a line that is missing in the list itself.
UNLISTED = dict.fromkeys(("imagenet, tars", "imagenet, torchvision", "yolo"), "not listed")
WITHOUT_XML = {"voc": "no_label", "voc, photographs": "no_label"}
WITHOUT_LINE = {
    "imagenet, annotations only": "not listed",
    "tiny_imagenet, val": "not listed",
    "table, CSV": "not listed",
    # Neither a folder nor a devkit tells the class.
    "imagenet, kaggle, CSV": "no_annotation no_label",
    # Not even the background is known.
    "wsol_metadata, masks": "missing_file",
    "openimages": "missing_file",
}
# What happens to the odd image, by what is odd about its image file or its XML file.
FILES: dict[str, tuple[str, Callable[[Path], object], str, dict[str, str]]] = {
    "no image file": ("image", Path.unlink, "missing_file", UNLISTED),
    "a pipe as image": ("image", pipe, "missing_file", UNLISTED),
    "a folder as image": ("image", folder, "missing_file", UNLISTED),
    "a dangling link as image": ("image", dangling_link, "missing_file", UNLISTED),
    "an empty image": ("image", content(b""), "unreadable_image", {}),
    "a web page as image": ("image", content(b"<html>404</html>"), "unreadable_image", {}),
    # It is known only when the pixels are read.
    "a truncated image": ("image", cut, "", {}),
    "a PNG, whatever its name": ("image", in_format("PNG"), "", {}),
    "a WebP, whatever its name": ("image", in_format("WEBP"), "", {}),
    "a BMP, whatever its name": ("image", in_format("BMP"), "", {}),
    "a GIF, whatever its name": ("image", in_format("GIF"), "", {}),
    "a TIFF, whatever its name": ("image", in_format("TIFF"), "", {}),
    "no XML file": ("xml", Path.unlink, "no_annotation no_box", WITHOUT_XML),
    "a pipe as XML": ("xml", pipe, "no_annotation no_box", WITHOUT_XML),
    "a folder as XML": ("xml", folder, "no_annotation no_box", WITHOUT_XML),
    "a dangling link as XML": ("xml", dangling_link, "no_annotation no_box", WITHOUT_XML),
    "an empty XML": ("xml", content(b""), "bad_annotation", {}),
    "a truncated XML": ("xml", cut, "bad_annotation", {}),
    "a web page as XML": ("xml", content(b"<html>404</html>"), "bad_annotation", {}),
    "an XML in an encoding that it does not name": (
        "xml", content(b"<annotation>\xe9</annotation>"), "bad_annotation", {},
    ),
    "an XML without an object": (
        "xml", content(b"<annotation></annotation>"), "no_box", WITHOUT_XML,
    ),
}  # fmt: skip


def has_file(world: World, kind: str) -> bool:
    return bool(world.image) if kind == "image" else world.annotation.endswith(".xml")


@pytest.mark.parametrize(
    ("world", "odd"),
    [
        pytest.param(world, odd, id=f"{world.name}: {odd}")
        for world in WORLDS
        for odd, (kind, *_) in FILES.items()
        if has_file(world, kind)
    ],
)
def test_an_odd_file_is_treated_as_the_table_says(
    world: World, odd: str, root: Path, require_outcome: Callable[[str], None]
) -> None:
    kind, disturb, outcome, exceptions = FILES[odd]
    path = path_of(world, root, world.image if kind == "image" else world.annotation)
    disturb(path)
    require_outcome(exceptions.get(world.name, outcome))
    if disturb is cut and kind == "image":
        with pytest.raises(ImageError, match="truncated"):
            load_image(path)


def change_line(world: World, root: Path, change: Callable[[str], str]) -> tuple[Path, int]:
    """Change the line of the odd image; return the file and the number of the line."""
    path, begin = path_of(world, root, world.annotation), odd_of(world, world.begin)
    lines = path.read_text().splitlines(keepends=True)
    [index] = [index for index, line in enumerate(lines) if line.startswith(begin)]
    lines[index] = change(lines[index])
    path.write_text("".join(lines))
    return path, index + 1


@with_lines
def test_an_image_without_a_line_has_no_annotation(
    world: World, root: Path, require_outcome: Callable[[str], None]
) -> None:
    change_line(world, root, lambda line: "")
    require_outcome(WITHOUT_LINE.get(world.name, "no_annotation no_box"))


@with_lines
def test_a_broken_line_is_an_error_that_names_it(world: World, root: Path) -> None:
    begin = odd_of(world, world.begin)
    path, number = change_line(world, root, lambda line: f"{begin}nonsense\n")
    with pytest.raises(DatasetError, match=rf"^[^\n]*{path.name}, line {number}\b[^\n]*$"):
        world.load(root)


@pytest.mark.parametrize("odd", ["my finch 2", "été_雀", "it's (2) & more #1.v2"], ids=str)
@each_world
def test_a_name_may_hold_blanks_and_any_letter(world: World, odd: str, tmp_path: Path) -> None:
    stems = ("img_1", odd, "img_3", "img_4")
    world.write(tmp_path, stems, world.suffix)
    loaded = world.load(tmp_path)
    assert loaded.findings == ()
    found, image_ids = state_of(loaded, tmp_path), ids(world, stems)
    assert sorted(found) == sorted(image_ids)
    first, second = found[image_ids[0]], found[image_ids[ODD]]
    assert len(second.boxes) + len(second.masks) == 1
    assert second.label == first.label


@pytest.mark.parametrize("suffix", FORMATS)
@with_images
def test_every_kind_of_image_is_found_by_its_extension(
    world: World, suffix: str, tmp_path: Path
) -> None:
    world.write(tmp_path, world.stems, suffix)
    loaded = world.load(tmp_path)
    assert loaded.findings == ()
    assert sorted(loaded.images["image_id"]) == sorted(ids(world, suffix=suffix))


# ---- lists and other text files


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"),
        lambda text: text.rstrip(b"\n"),
        lambda text: text.replace(b"\n", b"\n\n"),
    ],
    ids=["byte order mark and CRLF", "no end of the last line", "blank lines"],
)
@each_world
def test_text_files_of_other_systems_are_the_same_data(
    world: World,
    encode: Callable[[bytes], bytes],
    root: Path,
    require_outcome: Callable[[str], None],
) -> None:
    for path in root.rglob("*"):
        # In the devkit's lists of numbers a line is an image.
        is_numbered = path.name.startswith("ILSVRC20") and encode(b"\n") == b"\n\n"
        if path.suffix in {".txt", ".csv", ".xml"} and not is_numbered:
            path.write_bytes(encode(path.read_bytes()))
    require_outcome("")


# The findings of all images whose optional list is missing or empty, where there are any.
WITHOUT_LIST = {
    "n01440764_boxes.txt": {"no_annotation", "no_box"},
    "localization.txt": {"no_annotation", "no_box"},
}


@pytest.mark.parametrize("text", [None, b"", b"\xef\xbb\xbf\r\n \n"], ids=repr)
@each_list
def test_an_empty_list_is_as_a_missing_one(
    world: World,
    path: str,
    text: bytes | None,
    root: Path,
    undisturbed: Callable[[World], Path],
) -> None:
    (root / path).unlink()
    if text is not None:
        (root / path).write_bytes(text)
    if path in world.required:
        with pytest.raises(DatasetError, match=r"^[^\n]*$"):
            world.load(root)
        return
    loaded, expected = world.load(root), state(world, undisturbed(world))
    kinds = WITHOUT_LIST.get(Path(path).name, set())
    assert {finding.kind for finding in loaded.findings} == kinds
    for finding in loaded.findings:
        expected[finding.image_id] = expected[finding.image_id]._replace(boxes=[], masks=[])
    assert state_of(loaded, root) == expected


@pytest.mark.parametrize(
    ("disturb", "found"),
    [
        (pipe, "expected a regular file, found a pipe"),
        (folder, "expected a regular file, found a folder"),
        (dangling_link, "no such file"),
    ],
    ids=["a pipe", "a folder", "a dangling link"],
)
@pytest.mark.timeout(30)
@each_list
def test_a_list_that_is_no_file_is_refused_unopened(
    world: World, path: str, disturb: Callable[[Path], None], found: str, root: Path
) -> None:
    disturb(root / path)
    with pytest.raises(DatasetError, match=r"^[^\n]*$") as caught:
        world.load(root)
    message = str(caught.value)
    assert Path(path).name in message
    if path.endswith("image_ids.txt") and disturb is dangling_link:
        found = "image_ids.txt"  # a folder without it is no metadata folder
    assert found in message.replace("No such", "no such")


@each_list
def test_a_list_in_another_encoding_is_an_error_that_names_the_line(
    world: World, path: str, root: Path
) -> None:
    if path.endswith(".parquet"):  # no text
        return
    text = (root / path).read_bytes().rstrip(b"\n")
    (root / path).write_bytes(text + "é\n".encode("latin-1"))
    where = f"the byte 0xe9 in line {len(text.splitlines())};"
    with pytest.raises(DatasetError, match=rf"{Path(path).name}.*expected UTF-8, found {where}"):
        world.load(root)


TOKENS = (
    b"\0",
    b"\xff",
    b",",
    b"\t",
    b" ",
    b"\r",
    b"\n",
    b'"',
    b"9" * 40,
    b"1e999",
    b"nan",
    b"../",
    b"<",
    b"&",
)


@each_world
def test_random_damage_is_an_error_of_one_line_or_a_finding(world: World, root: Path) -> None:
    """Bytes are inserted, cut or doubled; nothing but a DatasetError may come of it."""
    random = Random(0)
    suffixes = {".txt", ".csv", ".xml", ".parquet", ".json", ".yaml"}
    files = sorted(path for path in root.rglob("*") if path.suffix in suffixes)
    for _ in range(10):
        path = random.choice(files)
        text = path.read_bytes()
        at = random.randrange(len(text))
        rest = random.choice([text[at:], text[at + 9 :], b"", text])
        path.write_bytes(text[:at] + random.choice((*TOKENS, b"")) + rest)
        try:
            world.load(root)
        except DatasetError as error:
            assert "\n" not in str(error)
        path.write_bytes(text)
