"""XML annotations as they really are, and as they must not be."""

import math

import pytest

from wsol_bench.datasets.formats.xml import XmlAnnotation, XmlObject, parse_xml
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
        assert parsed == XmlAnnotation(500, 375, (XmlObject("n01440764", 0, 20, 499, 300),))

    def test_no_object_is_no_box(self) -> None:
        assert parse_xml(b"<annotation><filename>x</filename></annotation>") == XmlAnnotation(
            0, 0, ()
        )

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
        ],
    )
    def test_what_cannot_be_used_is_refused_with_the_reason(self, data: bytes, reason: str) -> None:
        with pytest.raises(DatasetError, match=r"^[^\n]*$") as caught:
            parse_xml(data)
        assert reason in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "bndbox", "fault"),
        [
            ("", "<bndbox/>", "expected a <name> in every <object>, found an <object> without one"),
            ("cat", "", "expected a <bndbox> in the <object> 'cat', found none"),
            (
                "cat",
                "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax></bndbox>",
                "expected a <ymax> in <bndbox>, found none",
            ),
            (
                "cat",
                "<bndbox><xmin>one</xmin></bndbox>",
                "expected a number in <xmin>, found 'one'",
            ),
            (
                "cat",
                "<bndbox><xmin>nan</xmin></bndbox>",
                "expected a number in <xmin>, found 'nan'",
            ),
            ("cat", "<bndbox><xmin></xmin></bndbox>", "expected a number in <xmin>, found ''"),
        ],
    )
    def test_a_faulty_object_leaves_the_others_as_they_are(
        self, name: str, bndbox: str, fault: str
    ) -> None:
        faulty = f"<object><name>{name}</name>{bndbox}</object></annotation>"
        parsed = parse_xml(TYPICAL.replace("</annotation>", faulty).encode())
        assert (parsed.width, parsed.height, parsed.odd_size) == (500, 375, "")
        good, bad = parsed.objects
        assert good == XmlObject("n01440764", 0, 20, 499, 300)
        assert (bad.name, bad.fault) == (name, fault)
        assert all(map(math.isnan, bad[1:5]))

    @pytest.mark.parametrize(
        ("width", "reason"),
        [
            ("<width/>", "expected a number in <width>, found ''"),
            ("<width>wide</width>", "expected a number in <width>, found 'wide'"),
            ("<width>inf</width>", "expected a number in <width>, found 'inf'"),
            ("<width>-5</width>", "expected a size, found -5 x 375"),
            ("<width>0</width>", ""),
            ("", ""),
        ],
    )
    def test_a_size_that_is_none_is_unknown_and_the_boxes_stay(
        self, width: str, reason: str
    ) -> None:
        parsed = parse_xml(TYPICAL.replace("<width>500</width>", width).encode())
        assert parsed.objects == (XmlObject("n01440764", 0, 20, 499, 300),)
        assert parsed.width == 0
        assert parsed.odd_size == reason
