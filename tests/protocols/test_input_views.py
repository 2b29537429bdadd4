"""The fields of ``input`` that show a network more than one view of an image."""

import pytest

from wsol_bench.errors import ConfigError, ImageError
from wsol_bench.geometry import Placement
from wsol_bench.protocols.input_section import View
from wsol_bench.protocols.load import load_protocol
from wsol_bench.protocols.model import parse_protocol

TEN_CROP = {"resize": "squash", "resize_to": 256}


def changed(**section):
    return load_protocol("gradcam-2017", {"input": section})


class TestIdentity:
    @pytest.mark.parametrize("unused", [{"flip": False}, {"flip": None, "scales": None}])
    def test_unused_fields_leave_digest_and_content_as_they_were(self, unused):
        plain, other = load_protocol("gradcam-2017"), changed(**unused)
        assert other.hash == plain.hash == "19c340b6ff8f"
        assert other.model_dump()["input"] == plain.model_dump()["input"]
        assert list(plain.model_dump()["input"]) == [
            "size", "geometry", "resize_to", "filter", "antialias"
        ]  # fmt: skip

    def test_each_field_gives_another_digest_and_survives_a_manifest(self):
        sections = [
            {}, {"flip": True}, {"scales": [1.0]}, {"scales": [1.0, 1.5]},
            {"scales": [1.0, 1.5], "flip": True}, {"ten_crop": TEN_CROP},
            {"ten_crop": {**TEN_CROP, "resize": "shorter_side"}},
            {"ten_crop": {**TEN_CROP, "resize_to": 288}},
        ]  # fmt: skip
        protocols = [changed(**section) for section in sections]
        assert len({protocol.hash for protocol in protocols}) == len(sections)
        for protocol in protocols:
            assert parse_protocol(protocol.model_dump(mode="json"), "manifest") == protocol

    @pytest.mark.parametrize(
        ("section", "name"),
        [
            ({"flip": True}, "gradcam-2017+input.flip=true"),
            ({"scales": [0.5, 1]}, "gradcam-2017+input.scales=[0.5, 1]"),
            (
                {"ten_crop": TEN_CROP},
                "gradcam-2017+input.ten_crop.resize=squash,input.ten_crop.resize_to=256",
            ),
        ],
    )
    def test_the_name_tells_the_change(self, section, name):
        assert changed(**section).name == name


class TestViews:
    def test_every_scale_is_followed_by_its_mirror_image(self):
        assert changed().input.views == (View(0, 1.0, False),)
        assert changed(flip=True).input.views == (View(0, 1.0, False), View(0, 1.0, True))
        assert changed(scales=[1.5, 1, 0.5], flip=True).input.views == (
            View(1, 1.5, False), View(1, 1.5, True), View(0, 1.0, False), View(0, 1.0, True),
            View(2, 0.5, False), View(2, 0.5, True),
        )  # fmt: skip
        assert changed(scales=[0.5]).input.views == (View(1, 0.5, False),)

    def test_windows_of_a_squashed_input_by_hand(self):
        """The input; at 1.1 and 0.001 times its size, 246.4 and 0.2 pixels; five crops of 256."""
        size = (300, 500)
        section = changed(scales=[1.1, 1.0, 0.001], ten_crop=TEN_CROP).input
        assert section.windows(*size) == [
            Placement(size, (224, 224), (0, 0), (224, 224)),
            Placement(size, (246, 246), (0, 0), (246, 246)),
            Placement(size, (1, 1), (0, 0), (1, 1)),
            *(
                Placement(size, (256, 256), corner, (224, 224))
                for corner in ((0, 0), (0, 32), (32, 0), (32, 32), (16, 16))
            ),
        ]
        assert section.crops == (
            *(View(window) for window in (3, 4, 5, 6, 7)),
            *(View(window, mirrored=True) for window in (3, 4, 5, 6, 7)),
        )
        assert changed(scales=[0.5]).input.crops == ()
        assert section.further_sides == (246, 1)

    def test_a_center_crop_is_scaled_with_the_image_around_it(self):
        """256 x 384 pixels become 384 x 576, and the crop's corner (16, 80) becomes (24, 120)."""
        section = changed(geometry="center_crop", resize_to=256, scales=[1.5]).input
        plain, scaled = section.windows(200, 300)
        assert plain == Placement((200, 300), (256, 384), (16, 80), (224, 224))
        assert scaled == Placement((200, 300), (384, 576), (24, 120), (336, 336))

    @pytest.mark.parametrize("scale", [0.3, 0.5, 0.77, 1.3, 1.7])
    @pytest.mark.parametrize("size", [(300, 301), (225, 999), (31, 30), (500, 375)])
    def test_a_scaled_crop_stays_in_its_image_and_shows_the_same_part(self, scale, size):
        section = changed(geometry="center_crop", resize_to=225, scales=[scale]).input
        plain, scaled = section.windows(*size)
        for axis in (0, 1):
            end = scaled.offset[axis] + scaled.input[axis]
            assert 0 <= scaled.offset[axis] < end <= scaled.resized[axis]
            for edge, of_plain in (
                (scaled.offset[axis], plain.offset[axis]),
                (end, plain.offset[axis] + plain.input[axis]),
            ):
                in_plain = edge * plain.resized[axis] / scaled.resized[axis]
                assert abs(in_plain - of_plain) * scale <= 1.5

    def test_ten_crops_of_an_image_that_keeps_its_shape(self):
        """As torchvision: the shorter side becomes 256, the longer int(256 * 500 / 300) = 426."""
        section = changed(ten_crop={"resize": "shorter_side", "resize_to": 256}).input
        _, *crops = section.windows(300, 500)
        assert {crop.resized for crop in crops} == {(256, 426)}
        corners = [(0, 0), (0, 202), (32, 0), (32, 202)]
        assert [crop.offset for crop in crops] == [*corners, (16, 101), (16, 101)]
        *_, center, of_mirror = section.windows(300, 501)  # 427 pixels, 203 of them around
        assert (center.offset, of_mirror.offset) == ((16, 102), (16, 101))


class TestRefused:
    @pytest.mark.parametrize(
        ("section", "message"),
        [
            ({"scales": []}, r"'input': scales: expected a list of at least 1"),
            ({"scales": 1.5}, r"'input\.scales': expected a list"),
            ({"scales": [1.0, 0]}, r"'input\.scales\.1': expected more than 0"),
            ({"scales": [float("inf")]}, r"'input\.scales\.0': expected a finite number"),
            ({"scales": [1.0, True]}, r"'input\.scales': expected numbers"),
            ({"scales": [1, 1.0]}, r"scales: expected each scale once"),
            ({"scales": [20]}, r"at most 4096 pixels a side, found a scale of 20 for size 224"),
            ({"flip": "sideways"}, r"'input\.flip': expected true or false"),
            ({"ten_crop": True}, r"'input\.ten_crop': expected a mapping"),
            ({"ten_crop": {"resize": "squash"}}, r"missing key 'input\.ten_crop\.resize_to'"),
            ({"ten_crop": {**TEN_CROP, "size": 3}}, r"unknown key 'input\.ten_crop\.size'"),
            ({"ten_crop": {**TEN_CROP, "resize": "crop"}}, r"'input\.ten_crop\.resize': expected"),
            ({"ten_crop": {**TEN_CROP, "resize_to": 200}}, r"200 is smaller than size 224"),
        ],
    )
    def test_with_the_key_and_what_is_expected(self, section, message):
        with pytest.raises(ConfigError, match=message):
            changed(**section)

    @pytest.mark.parametrize(
        ("section", "mend"),
        [
            ({"ten_crop": {"resize": "shorter_side", "resize_to": 256}}, "resize: squash"),
            ({"geometry": "center_crop", "resize_to": 256, "scales": [4.0]}, "geometry squash"),
        ],
    )
    def test_an_image_whose_views_would_fill_the_memory(self, section, mend):
        """One in a thousand is 256 x 256,000 pixels at a shorter side of 256: as much as fits."""
        protocol = changed(**section)
        assert protocol.input.place(10, 100).original == (10, 100)
        with pytest.raises(ImageError, match=rf"at most \d+ pixels a side .*{mend}"):
            protocol.input.place(2, 2500)
