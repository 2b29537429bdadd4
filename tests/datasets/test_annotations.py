"""Annotation files as they really are, and as they must not be."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from wsol_bench.datasets.annotations import (
    XmlObject,
    image_id_of,
    parse_xml,
    read_classes,
    read_image_list,
    read_image_sizes,
    read_meta_mat,
    read_numbers,
    read_solution,
    read_synset_mapping,
    read_synsets_csv,
)
from wsol_bench.errors import DatasetError

TYPICAL = """<annotation>
	<folder>val</folder>
	<filename>%s</filename>
	<source>
		<database>ILSVRC_2012</database>
	</source>
	<size>
		<width>500</width>
		<height>375</height>
		<depth>3</depth>
	</size>
	<segmented>0</segmented>
	<object>
		<name>n01440764</name>
		<pose>Unspecified</pose>
		<truncated>0</truncated>
		<difficult>0</difficult>
		<bndbox>
			<xmin>0</xmin>
			<ymin>20</ymin>
			<xmax>499</xmax>
			<ymax>300</ymax>
		</bndbox>
	</object>
</annotation>
"""

BILLION_LAUGHS = """<?xml version="1.0"?>
<!DOCTYPE annotation [
  <!ENTITY lol "lol">
  <!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">
  <!ENTITY lol3 "&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;">
]>
<annotation><object><name>&lol3;</name></object></annotation>
"""

EXTERNAL_ENTITY = """<?xml version="1.0"?>
<!DOCTYPE annotation [<!ENTITY secret SYSTEM "file:///etc/hostname">]>
<annotation><object><name>&secret;</name></object></annotation>
"""


def objects(bndbox: str, name: str = "<name>n01440764</name>") -> bytes:
    return f"<annotation><object>{name}{bndbox}</object></annotation>".encode()


class TestXml:
    def test_a_typical_file(self) -> None:
        parsed = parse_xml(TYPICAL.encode())
        assert parsed == (500, 375, (XmlObject("n01440764", 0, 20, 499, 300),))

    def test_no_object_is_no_box(self) -> None:
        assert parse_xml(b"<annotation><filename>x</filename></annotation>") == (0, 0, ())

    def test_corners_are_found_by_name_and_not_by_order(self) -> None:
        shuffled = "<bndbox><xmin>1</xmin><xmax>3</xmax><ymin>2</ymin><ymax>4</ymax></bndbox>"
        assert parse_xml(objects(shuffled)).objects == (XmlObject("n01440764", 1, 2, 3, 4),)

    def test_coordinates_may_be_floats_in_white_space(self) -> None:
        box = "<bndbox><ymax> 4.5\n</ymax><ymin>2</ymin><xmax>3e1</xmax><xmin>-1.25</xmin></bndbox>"
        assert parse_xml(objects(box)).objects == (XmlObject("n01440764", -1.25, 2, 30, 4.5),)

    def test_the_name_is_the_objects_own_and_not_a_parts(self) -> None:
        box = (
            "<part><name>head</name></part><name>n01440764</name>"
            "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"
        )
        assert parse_xml(objects(box, name="")).objects[0].name == "n01440764"

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "not well-formed XML"),
            (TYPICAL[:300].encode(), "not well-formed XML"),
            (TYPICAL.encode("utf-16")[: len(TYPICAL)], "not well-formed XML"),
            (b"\x00\x01\x02", "not well-formed XML"),
            (b'<?xml version="1.0" encoding="nonsense"?><annotation/>', "XML"),
            (BILLION_LAUGHS.encode(), "refused for safety: EntitiesForbidden"),
            (EXTERNAL_ENTITY.encode(), "refused for safety: EntitiesForbidden"),
            (b"<html><body>404</body></html>", "expected the element <annotation>, found <html>"),
            (objects("<bndbox/>", name=""), "an <object> has no <name>"),
            (objects(""), "has no <bndbox>"),
            (
                objects("<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax></bndbox>"),
                "<bndbox> has no <ymax>",
            ),
            (objects("<bndbox><xmin>one</xmin></bndbox>"), "<xmin> is not a number: 'one'"),
            (objects("<bndbox><xmin>nan</xmin></bndbox>"), "<xmin> is not a number: 'nan'"),
            (objects("<bndbox><xmin></xmin></bndbox>"), "<xmin> is not a number: ''"),
            (
                b"<annotation><size><width>wide</width></size></annotation>",
                "<width> is not a number: 'wide'",
            ),
        ],
    )
    def test_what_cannot_be_used_is_refused_with_the_reason(self, data: bytes, reason: str) -> None:
        with pytest.raises(DatasetError, match=r"^[^\n]*$") as caught:
            parse_xml(data)
        assert reason in str(caught.value)


class TestSolution:
    def read(self, folder: Path, text: str) -> list[tuple[object, ...]]:
        path = folder / "LOC_val_solution.csv"
        path.write_bytes(text.encode())
        return [tuple(row) for row in read_solution(path).itertuples(index=False)]

    def test_rows_are_groups_of_five_in_the_files_order(self, tmp_path: Path) -> None:
        rows = self.read(
            tmp_path,
            "ImageId,PredictionString\n"
            "ILSVRC2012_val_00000002,n01440764 1 2 3 4 n02012849 5.5 6 7 8 \n"
            "ILSVRC2012_val_00000001,n01440764 0 0 9 9\n",
        )
        assert rows == [
            ("ILSVRC2012_val_00000002", "n01440764", 1, 2, 3, 4),
            ("ILSVRC2012_val_00000002", "n02012849", 5.5, 6, 7, 8),
            ("ILSVRC2012_val_00000001", "n01440764", 0, 0, 9, 9),
        ]

    def test_windows_line_ends_a_byte_order_mark_and_blank_lines(self, tmp_path: Path) -> None:
        rows = self.read(tmp_path, "\ufeffImageId,PredictionString\r\n\r\na,n1 1 2 3 4\r\n")
        assert rows == [("a", "n1", 1, 2, 3, 4)]

    def test_an_image_without_boxes_has_a_row_without_a_name(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, "ImageId,PredictionString\na,\n")[0][:2] == ("a", "")

    def test_a_header_alone_is_an_empty_table(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, "ImageId,PredictionString\n") == []

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "line 1: expected the header 'ImageId,PredictionString', found ''"),
            ("a,n1 1 2 3 4\n", "line 1: expected the header"),
            ("ImageId,PredictionString\na,n1 1 2 3\n", "line 2: expected groups of 5"),
            ("ImageId,PredictionString\nb,\na,n1 1 2 3 x\n", "line 3: expected 4 numbers"),
            ("ImageId,PredictionString\na,n1 1 2 3 nan\n", "line 2: expected 4 numbers"),
            ("ImageId,PredictionString\na\n", "line 2: expected an image id and its boxes"),
            ("ImageId,PredictionString\na,,\n", "line 2: expected an image id and its boxes"),
            ("ImageId,PredictionString\na,\na,\n", "line 3: expected each image once"),
        ],
    )
    def test_a_malformed_row_is_an_error_that_names_the_line(
        self, tmp_path: Path, text: str, message: str
    ) -> None:
        with pytest.raises(DatasetError, match=r"LOC_val_solution\.csv, line \d") as caught:
            self.read(tmp_path, text)
        assert message in str(caught.value)

    def test_bytes_that_are_no_text_are_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "LOC_val_solution.csv"
        path.write_bytes(b"ImageId,PredictionString\n\xff\xfe,")
        with pytest.raises(DatasetError, match="cannot be read as text"):
            read_solution(path)


class TestLists:
    @pytest.mark.parametrize(
        "line",
        [
            "n01440764_10026",
            "n01440764/n01440764_10026 1",
            "n01440764_10026.JPEG",
            "  train/n01440764/n01440764_10026.jpeg\t17  ",
        ],
    )
    def test_an_image_id_is_the_stem_of_the_first_word(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "list.txt").write_text(f"\n{line}\n")
        assert read_image_list(tmp_path / "list.txt") == ["n01440764_10026"]

    def test_only_an_image_extension_is_dropped(self) -> None:
        assert [image_id_of(name) for name in ("a.b.PNG", "v1.5", ".jpg")] == [
            "a.b",
            "v1.5",
            ".jpg",
        ]

    def test_numbers_one_a_line(self, tmp_path: Path) -> None:
        (tmp_path / "list.txt").write_text("490\n 361\r\n1001\n\n")
        assert read_numbers(tmp_path / "list.txt").tolist() == [490, 361, 1001]
        (tmp_path / "list.txt").write_text("")
        assert read_numbers(tmp_path / "list.txt").tolist() == []

    @pytest.mark.parametrize("line", ["", "x", "0", "-3", "1.5", "9" * 30])
    def test_a_line_that_is_no_number_is_an_error(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "list.txt").write_text(f"490\n{line}\n361\n")
        with pytest.raises(DatasetError, match=r"list\.txt, line 2: expected a whole number"):
            read_numbers(tmp_path / "list.txt")

    def test_image_sizes(self, tmp_path: Path) -> None:
        (tmp_path / "sizes.csv").write_text("file,width,height\nb.JPEG,500,375\na,3,4\n")
        table = read_image_sizes(tmp_path / "sizes.csv")
        assert table.to_numpy().tolist() == [["b", 500, 375], ["a", 3, 4]]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("file,width\na,1\n", "line 1: expected the columns file,width,height"),
            ("file,width,height\na,1,2\nb,1,tall\n", "line 3: expected a width and a height"),
            ("file,width,height\na,0,2\n", "line 2: expected a width and a height"),
            ("", "expected a table"),
        ],
    )
    def test_malformed_sizes_are_an_error(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "sizes.csv").write_text(text)
        with pytest.raises(DatasetError, match=r"sizes\.csv") as caught:
            read_image_sizes(tmp_path / "sizes.csv")
        assert message in str(caught.value)


SYNSETS = [  # ILSVRC2012_ID, wnid, words, children
    (1, "n02119789", "kit fox, Vulpes macrotis", 0),
    (2, "n02012849", "crane", 0),
    (3, "n03126707", "crane", 0),
    (1000, "n03255030", "dumbbell", 0),
    (1001, "n00001740", "entity", 2),
    (1100, "n00021939", "artifact", 2),
]


def write_meta(path: Path, rows: list[tuple[int, str, str, int]]) -> None:
    fields = "ILSVRC2012_ID WNID words gloss num_children children wordnet_height num_train_images"
    synsets = np.zeros((len(rows), 1), dtype=[(name, object) for name in fields.split()])
    for synset, (number, wnid, words, children) in zip(synsets[:, 0], rows, strict=True):
        synset["ILSVRC2012_ID"], synset["WNID"], synset["words"] = float(number), wnid, words
        synset["gloss"], synset["num_children"] = "a gloss", float(children)
        synset["children"] = np.arange(children, dtype=np.float64)[None]
        synset["wordnet_height"], synset["num_train_images"] = 0.0, 1300.0
    savemat(path, {"synsets": synsets})


class TestClasses:
    expected = (
        ("n02119789", "kit fox, Vulpes macrotis", 1),
        ("n02012849", "crane", 2),
        ("n03126707", "crane", 3),
        ("n03255030", "dumbbell", 1000),
    )

    def test_meta_mat_gives_its_leaves(self, tmp_path: Path) -> None:
        write_meta(tmp_path / "meta.mat", SYNSETS)
        table = read_meta_mat(tmp_path / "meta.mat")
        assert tuple(table.itertuples(index=False, name=None)) == self.expected

    def test_meta_mat_of_a_single_synset(self, tmp_path: Path) -> None:
        write_meta(tmp_path / "meta.mat", SYNSETS[:1])
        assert read_classes(tmp_path / "meta.mat")["wnid"].tolist() == ["n02119789"]

    @pytest.mark.parametrize("content", [b"", b"not a MATLAB file at all" * 20])
    def test_what_is_no_meta_mat_is_an_error(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "meta.mat").write_bytes(content)
        with pytest.raises(DatasetError, match=r"meta\.mat: expected the devkit's struct array"):
            read_meta_mat(tmp_path / "meta.mat")

    def test_another_mat_file_is_an_error(self, tmp_path: Path) -> None:
        savemat(tmp_path / "meta.mat", {"other": np.zeros(3)})
        with pytest.raises(DatasetError, match="KeyError: 'synsets'"):
            read_meta_mat(tmp_path / "meta.mat")

    def test_synsets_csv(self, tmp_path: Path) -> None:
        path = tmp_path / "synsets.csv"
        rows = [f'{number},{wnid},0,"{words}"\n' for number, wnid, words, _ in SYNSETS]
        path.write_text("ILSVRC2012_ID,wnid,sorted_index,words\n" + "".join(rows))
        table = read_synsets_csv(path)
        assert tuple(table.itertuples(index=False, name=None)) == self.expected
        assert read_classes(path).equals(table)

    def test_a_synset_mapping_names_no_ids(self, tmp_path: Path) -> None:
        path = tmp_path / "LOC_synset_mapping.txt"
        path.write_text("n01440764 tench, Tinca tinca\n\nn02012849 crane\nn03126707\n")
        assert read_synset_mapping(path).to_numpy().tolist() == [
            ["n01440764", "tench, Tinca tinca", 0],
            ["n02012849", "crane", 0],
            ["n03126707", "n03126707", 0],
        ]

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("a.txt", "n1 x\nn1 y\n", "wnid 'n1' stands for two classes"),
            ("a.txt", "\n", "expected a class a line, found none"),
            ("a.csv", "wnid,words\nn1,x\n", "line 1: expected the columns ilsvrc2012_id,wnid"),
            ("a.csv", "ilsvrc2012_id,wnid,words\none,n1,x\n", "line 2: expected a whole number"),
            ("a.csv", "ilsvrc2012_id,wnid,words\n7,n1,x\n7,n2,x\n", "ilsvrc_id 7 stands for two"),
        ],
    )
    def test_a_broken_table_is_an_error(
        self, tmp_path: Path, name: str, text: str, message: str
    ) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(DatasetError) as caught:
            read_classes(tmp_path / name)
        assert message in str(caught.value)
        assert name in str(caught.value)
