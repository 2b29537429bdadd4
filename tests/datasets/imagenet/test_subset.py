"""A subset of an ImageNet root: its images in its order."""

from pathlib import Path

import pytest
from imagenet_roots import (
    LAYOUTS,
    TENCH,
    annotations_only,
    image_of,
    kaggle,
    kinds,
    name,
    write,
    xml_of,
)

from wsol_bench.datasets.imagenet.loader import imagenet
from wsol_bench.errors import DatasetError


class TestSubset:
    def test_the_list_gives_the_images_and_their_order(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        text = f"{name(10)} 5\n{TENCH}/{name(3)} 17\n{name(2)}.JPEG 4\n"
        loaded = imagenet(root=root, subset=write(tmp_path / "subset.txt", text))
        assert loaded.images["image_id"].tolist() == [name(10), name(3), name(2)]
        assert [len(image.boxes) for image in loaded] == [1, 2, 1]
        assert loaded[1].boxes.tolist() == [[5, 6, 21, 31], [25, 6, 50, 40]]

    def test_a_subset_keeps_its_numbers(self, tmp_path: Path) -> None:
        root = annotations_only(tmp_path)
        subset = write(tmp_path / "subset.txt", f"{name(10)}\n{name(3)}\n")
        assert imagenet(root=root, subset=subset).images["blacklisted"].tolist() == [False, True]

    def test_only_its_files_are_read(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        write(xml_of(root, 7), "broken")
        subset = write(tmp_path / "subset.txt", name(3))
        assert imagenet(root=root, subset=subset).findings == ()

    def test_what_is_left_out_is_left_out_of_a_subset_too(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        write(xml_of(root, 7), "broken")
        image_of(root, 2).unlink()
        subset = write(tmp_path / "subset.txt", "\n".join(map(name, (7, 2, 3))))
        loaded = imagenet(root=root, subset=subset)
        assert loaded.images["image_id"].tolist() == [name(3)]
        assert kinds(loaded) == {"bad_annotation": 1, "missing_file": 1}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("nonsense\n", "1 of 1 listed images are not in the data set, the first is 'nonsense'"),
            ("\n", "expected one image id a line, found none"),
        ],
    )
    @pytest.mark.parametrize("layout", ["kaggle", "annotations only"])
    def test_a_list_of_other_things_is_an_error(
        self, tmp_path: Path, layout: str, text: str, message: str
    ) -> None:
        subset = write(tmp_path / "subset.txt", text)
        with pytest.raises(DatasetError, match=r"subset\.txt") as caught:
            imagenet(root=LAYOUTS[layout](tmp_path / "root"), subset=subset)
        assert message in str(caught.value)
