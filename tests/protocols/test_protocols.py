"""Named protocols, what a protocol may not be, and the images that a sweep holds out."""

from itertools import combinations

import numpy as np
import pytest
import yaml

from wsol_bench.errors import ConfigError
from wsol_bench.protocols.load import load_protocol, protocol_names
from wsol_bench.protocols.model import (
    BoxSweepProtocol,
    OneBoxProtocol,
    PixelProtocol,
    parse_protocol,
)
from wsol_bench.protocols.sections import Sweep

CHOE_INPUT = {
    "size": 224, "geometry": "squash", "resize_to": None, "filter": "bilinear", "antialias": True
}  # fmt: skip
CHOE_BOX = {
    "threshold": {"step": 0.001, "select_on": None}, "of": "range", "measured_on": "upsampled",
    "comparison": "above", "connectivity": 8, "extractor": "contours",
}  # fmt: skip
IDS = [f"ILSVRC2012_val_{number:08d}" for number in range(1, 10_001)]


class TestNamed:
    def test_the_built_in_protocols_are_these(self):
        assert set(protocol_names()) >= {
            "choe-2020-pxap", "choe-2020-v1", "choe-2020-v2", "gradcam-2017", "wsol-2018-crop",
            "wsol-2018-squash", "zhou-2016",
        }  # fmt: skip

    @pytest.mark.parametrize("name", ["choe-2020-v1", "choe-2020-v2", "choe-2020-pxap"])
    def test_wsolevaluation_takes_bicubic_maps_that_nothing_rectifies(self, name):
        protocol = load_protocol(name)
        assert protocol.input.model_dump() == CHOE_INPUT
        assert protocol.map.model_dump() == {
            "rectify": "never", "upsample": "bicubic", "align_corners": False
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("name", "component", "ious"),
        [("choe-2020-v1", "largest", (0.5,)), ("choe-2020-v2", "all", (0.3, 0.5, 0.7))],
    )
    def test_wsolevaluation_takes_contours_at_1000_thresholds_of_the_range(
        self, name, component, ious
    ):
        protocol = load_protocol(name)
        assert protocol.box.model_dump() == {**CHOE_BOX, "component": component}
        assert protocol.scoring.model_dump() == {"iou": ious, "frame": "input"}
        assert protocol.scoring.ious == ious
        assert type(protocol) is BoxSweepProtocol
        assert not hasattr(protocol, "pixels")
        assert protocol.box.threshold.thresholds.shape == (1000,)
        assert protocol.selection is None

    def test_pxap_scores_pixels_and_no_box(self):
        protocol = load_protocol("choe-2020-pxap")
        assert protocol.pixels.model_dump() == {"step": 0.001}
        assert type(protocol) is PixelProtocol
        assert not hasattr(protocol, "box") and not hasattr(protocol, "scoring")
        assert protocol.selection is None

    @pytest.mark.parametrize(
        ("name", "rectify", "threshold", "comparison"),
        [
            ("gradcam-2017", "before_upsampling", 0.15, "at_least"),
            ("zhou-2016", "never", 0.2, "above"),
        ],
    )
    def test_the_box_protocols_mean_what_they_meant_before_there_were_sweeps(
        self, name, rectify, threshold, comparison
    ):
        """The new fields name what was the only way: components, and pixels of the image."""
        protocol = load_protocol(name)
        assert protocol.input.model_dump() == CHOE_INPUT
        assert protocol.map.model_dump() == {
            "rectify": rectify, "upsample": "bilinear", "align_corners": False
        }  # fmt: skip
        assert protocol.box.model_dump() == {
            "threshold": threshold, "of": "maximum", "measured_on": "upsampled",
            "comparison": comparison, "connectivity": 8, "extractor": "components",
            "component": "largest",
        }  # fmt: skip
        assert protocol.scoring.model_dump() == {"iou": 0.5, "frame": "original"}
        assert protocol.scoring.iou == 0.5
        assert type(protocol) is OneBoxProtocol
        assert protocol.selection is None

    @pytest.mark.parametrize(
        ("name", "geometry", "resize_to"),
        [("wsol-2018-squash", "squash", None), ("wsol-2018-crop", "center_crop", 256)],
    )
    def test_the_best_of_100_thresholds_is_of_exact_components_in_pixels_of_the_image(
        self, name, geometry, resize_to
    ):
        protocol = load_protocol(name)
        place = {"geometry": geometry, "resize_to": resize_to}
        assert protocol.input.model_dump() == {**CHOE_INPUT, **place}
        upsampling = {"rectify": "never", "upsample": "bilinear", "align_corners": False}
        assert protocol.map.model_dump() == upsampling
        sweep = {"threshold": {"step": 0.01, "select_on": None}, "component": "largest"}
        assert protocol.box.model_dump() == {**CHOE_BOX, **sweep, "extractor": "components"}
        assert protocol.scoring.model_dump() == {"iou": 0.5, "frame": "original"}
        assert type(protocol) is BoxSweepProtocol
        np.testing.assert_allclose(protocol.box.threshold.thresholds, np.arange(100) / 100)

    def test_hashes_differ_and_survive_a_manifest(self):
        protocols = [load_protocol(name) for name in protocol_names()]
        assert len({protocol.hash for protocol in protocols}) == len(protocols)
        for protocol in protocols:
            assert parse_protocol(protocol.model_dump(mode="json"), "manifest") == protocol

    @pytest.mark.parametrize(
        ("name", "hash_"),
        [
            ("choe-2020-pxap", "aaea0d1fad18"),
            ("choe-2020-v1", "54e6c7b078e6"),
            ("choe-2020-v2", "e0a48971fd5f"),
            ("gradcam-2017", "19c340b6ff8f"),
            ("wsol-2018-crop", "53d9bcc250b3"),
            ("wsol-2018-squash", "8f3954312069"),
            ("zhou-2016", "8fc925533571"),
        ],
    )
    def test_their_hashes_are_those_of_the_first_release(self, name, hash_):
        """By which results of older and newer versions are told to be by one protocol."""
        assert load_protocol(name).hash == hash_

    def test_a_sweep_may_select_on_other_images(self):
        share = {"box": {"threshold": {"step": 0.001, "select_on": 0.5}}}
        for name in ("choe-2020-v1", "choe-2020-v2"):
            assert load_protocol(name, share).selection == Sweep(step=0.001, select_on=0.5)

    @pytest.mark.parametrize(
        ("name", "classifies"),
        [("gradcam-2017", True), ("zhou-2016", True), ("choe-2020-v1", False),
         ("choe-2020-v2", False), ("choe-2020-pxap", False), ("wsol-2018-squash", False)],
    )  # fmt: skip
    def test_only_protocols_of_one_box_need_no_ground_truth_box(self, name, classifies):
        assert load_protocol(name).has_classification is classifies


def changed(name, **changes):
    return load_protocol(name, changes)


ANOTHER = {
    "choe-2020-v2": [
        {"input": {"size": 299}},
        {"map": {"upsample": "bilinear"}},
        {"box": {"threshold": {"step": 0.01}}},
        {"box": {"threshold": {"step": 0.001, "select_on": 0.5}}},
        {"box": {"threshold": {"step": 0.001, "select_on": 0.2}}},
        {"box": {"threshold": {"step": 0.001, "select_on": "ids.txt"}}},
        {"box": {"extractor": "components"}},
        {"box": {"component": "largest"}},
        {"scoring": {"iou": [0.3, 0.5]}},
        {"scoring": {"iou": 0.5}},
        {"scoring": {"frame": "original"}},
    ],
    "choe-2020-pxap": [
        {"input": {"antialias": False}},
        {"map": {"rectify": "after_upsampling"}},
        {"map": {"align_corners": True}},
        {"pixels": {"step": 0.01}},
    ],
    "zhou-2016": [{"scoring": {"frame": "input"}}, {"box": {"threshold": {"step": 0.001}}}],
}


class TestHash:
    @pytest.mark.parametrize("name", ANOTHER)
    def test_the_hash_changes_with_each_field(self, name):
        protocols = [
            load_protocol(name),
            *(load_protocol(name, changes) for changes in ANOTHER[name]),
        ]
        for first, second in combinations(protocols, 2):
            assert first.hash != second.hash, (first.name, second.name)
            assert first.name != second.name

    def test_a_change_to_the_same_value_keeps_the_hash(self):
        changes = {"box": {"threshold": {"step": 0.001}, "component": "all"}}
        assert load_protocol("choe-2020-v2", changes).hash == load_protocol("choe-2020-v2").hash

    @pytest.mark.parametrize("name", ANOTHER)
    def test_the_hash_does_not_change_with_names(self, name):
        protocol = load_protocol(name)
        renamed = protocol.model_copy(update={"name": "mine", "paper": "none"})
        assert renamed.hash == protocol.hash


INVALID = [
    # protocol, changes, key, what is wrong
    ("choe-2020-v2", {"box": {"threshold": 0.2}}, "box", "component: all needs a sweep"),
    ("gradcam-2017", {"box": {"component": "all"}}, "box", "component: all needs a sweep"),
    *(
        ("choe-2020-v1", {"box": {key: value}}, "box", "extractor: contours goes with")
        for key, value in {
            "of": "maximum",
            "measured_on": "low_resolution",
            "comparison": "at_least",
            "connectivity": 4,
        }.items()
    ),
    ("gradcam-2017", {"box": {"extractor": "contours"}}, "box", "extractor: contours goes with"),
    ("gradcam-2017", {"box": {"extractor": "polygons"}}, "box.extractor", "found 'polygons'"),
    ("gradcam-2017", {"box": {"component": "first"}}, "box.component", "found 'first'"),
    ("gradcam-2017", {"scoring": {"frame": "crop"}}, "scoring.frame", "found 'crop'"),
    ("gradcam-2017", {"box": {"threshold": -0.1}}, "box.threshold", "found -0.1"),
    ("gradcam-2017", {"box": {"threshold": "high"}}, "box.threshold", "found 'high'"),
    ("gradcam-2017", {"box": {"threshold": {}}}, "box.threshold.step", "missing key"),
    ("choe-2020-v1", {"scoring": {"iou": [0.5, 0.5]}}, "scoring.iou", "expected each IoU once"),
    ("choe-2020-v1", {"box": {"threshold": {"step": 0}}}, "box.threshold.step", "found 0"),
    ("choe-2020-v1", {"box": {"threshold": {"step": 1.5}}}, "box.threshold.step", "found 1.5"),
    (
        "choe-2020-v1",
        {"box": {"threshold": {"step": 0.1, "stpe": 0.1}}},
        "box.threshold.stpe",
        "did you mean 'step'",
    ),
    *(
        (
            "choe-2020-v1",
            {"box": {"threshold": {"step": 0.1, "select_on": value}}},
            "box.threshold.select_on",
            f"found {value}",
        )
        for value in (0, 1, 1.5, -0.5)
    ),
    (
        "choe-2020-v1",
        {"box": {"threshold": {"step": 0.1, "select_on": ["a", "b"]}}},
        "box.threshold.select_on",
        "found ['a', 'b']",
    ),
    ("choe-2020-v1", {"scoring": {"iou": []}}, "scoring.iou", "found []"),
    ("choe-2020-v1", {"scoring": {"iou": [0.5, 0]}}, "scoring.iou.1", "found 0"),
    ("choe-2020-v1", {"scoring": {"iou": 1.1}}, "scoring.iou", "found 1.1"),
    ("gradcam-2017", {"scoring": {"iou": 0}}, "scoring.iou", "found 0"),
    ("gradcam-2017", {"scoring": {"iou": [0.3, 0.5]}}, "scoring.iou", "several need a sweep"),
    ("choe-2020-pxap", {"pixels": {"step": 0}}, "pixels.step", "found 0"),
    ("choe-2020-pxap", {"pixels": None}, "pixels", "either 'box' and 'scoring', or 'pixels'"),
    ("choe-2020-v1", {"pixels": {"step": 0.1}}, "pixels", "either 'box' and 'scoring'"),
    ("gradcam-2017", {"scoring": None}, "scoring", "either 'box' and 'scoring'"),
    ("gradcam-2017", {"box": None}, "box", "either 'box' and 'scoring'"),
]


class TestInvalid:
    @pytest.mark.parametrize(
        ("name", "changes", "key", "message"),
        INVALID,
        ids=lambda value: str(value) if isinstance(value, dict) else "",
    )
    def test_is_an_error_that_names_the_key_and_what_is_wrong(self, name, changes, key, message):
        with pytest.raises(ConfigError) as error:
            load_protocol(name, changes)
        [line] = str(error.value).splitlines()
        assert line.startswith(f"protocol {name}:")
        assert f"'{key}'" in line or f"{key}:" in line
        assert message in line

    @pytest.mark.parametrize("section", ["box", "scoring", "map", "input"])
    def test_a_file_without_a_section_is_an_error(self, tmp_path, section):
        content = load_protocol("choe-2020-v1").model_dump(mode="json", exclude_none=True)
        del content[section]
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({**content, "name": "mine"}))
        with pytest.raises(ConfigError, match=section):
            load_protocol(str(path))

    @pytest.mark.parametrize("section", ["input", "map", "box", "scoring"])
    def test_every_field_must_be_named(self, tmp_path, section):
        """But for those that another choice makes needless."""
        whole = load_protocol("choe-2020-v1").model_dump(mode="json", exclude_none=True)
        for field in whole[section]:
            content = {**whole, section: {k: v for k, v in whole[section].items() if k != field}}
            path = tmp_path / "mine.yaml"
            path.write_text(yaml.safe_dump({**content, "name": "mine"}))
            with pytest.raises(ConfigError, match=rf"missing key '{section}\.{field}'"):
                load_protocol(str(path))

    def test_what_is_left_is_valid(self):
        every = {"threshold": {"step": 0.1}, "extractor": "components", "component": "all"}
        for box in (every, {**every, "of": "maximum", "measured_on": "low_resolution"}):
            protocol = changed("choe-2020-v2", box=box)
            assert type(protocol) is BoxSweepProtocol
            assert protocol.box.threshold == Sweep(step=0.1)
        assert changed("choe-2020-v1", scoring={"iou": 0.7}).scoring.ious == (0.7,)
        # One threshold may be taken from contours, too.
        protocol = changed("choe-2020-v1", box={"threshold": 0.2}, scoring={"iou": 0.5})
        assert type(protocol) is OneBoxProtocol
        assert (protocol.box.threshold, protocol.scoring.iou) == (0.2, 0.5)

    def test_other_errors_come_before_that_of_several_ious_at_one_threshold(self):
        for changes, key in (
            ({"threshold": None}, "box.threshold"),
            ({"threshold": [0.1, 0.2]}, "box.threshold"),
            ({"threshold": 2}, "box.threshold"),
            ({"threshold": 0.2}, "box"),
        ):
            with pytest.raises(ConfigError) as error:
                changed("choe-2020-v2", box=changes)
            [line] = str(error.value).splitlines()
            assert f"'{key}'" in line, line
        with pytest.raises(
            ConfigError, match=r"'scoring\.iou' expected one number .*; several need a sweep"
        ):
            changed("choe-2020-v2", box={"threshold": 0.2, "component": "largest"})


class TestThresholds:
    @pytest.mark.parametrize("step", [0.001, 0.01, 0.05, 0.1, 0.25, 1 / 3, 0.3, 1])
    def test_thresholds_are_those_of_the_official_code(self, step):
        expected = np.arange(0, 1, step)
        assert np.array_equal(Sweep(step=step).thresholds, expected)
        pixels = load_protocol("choe-2020-pxap", {"pixels": {"step": step}}).pixels
        assert np.array_equal(pixels.thresholds, expected)

    @pytest.mark.parametrize("step", [0.001, 0.01, 0.05, 0.1, 0.2, 0.25, 0.5, 1])
    def test_thresholds_begin_with_0_and_stay_below_1(self, step):
        thresholds = Sweep(step=step).thresholds
        assert thresholds[0] == 0
        assert len(thresholds) == round(1 / step)
        assert thresholds[-1] < 1 - step / 2


class TestHeldOutShare:
    @pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
    def test_the_share_held_out_is_close_to_the_number(self, share):
        """Within four standard deviations of as many coins."""
        held_out = Sweep(step=0.1, select_on=share).holds_out(IDS).mean()
        assert abs(held_out - share) < 4 * np.sqrt(share * (1 - share) / len(IDS))

    def test_being_held_out_depends_on_the_id_alone(self):
        sweep = Sweep(step=0.1, select_on=0.3)
        whole = dict(zip(IDS, sweep.holds_out(IDS).tolist(), strict=True))
        for subset in (IDS[::-1], IDS[17:900:7], IDS[5:6], []):
            assert sweep.holds_out(subset).tolist() == [whole[name] for name in subset]

    def test_is_the_same_in_every_release(self):
        """A digest of the id: one that sha256sum begins with 0 to 7 is in the lower half."""
        held_out = Sweep(step=0.1, select_on=0.5).holds_out(IDS[:8])
        assert held_out.tolist() == [first < "8" for first in "e0ecefa1"]

    def test_grows_with_the_share(self):
        few, many = (Sweep(step=0.1, select_on=share).holds_out(IDS) for share in (0.2, 0.6))
        assert (few <= many).all()

    def test_without_select_on_is_none(self):
        assert not Sweep(step=0.1).holds_out(IDS).any()


class TestHeldOutFile:
    def test_the_ids_in_a_file_are_held_out(self, tmp_path):
        path = tmp_path / "ids.txt"
        path.write_text("c\n\n  a \nnot in the data set\n")
        sweep = Sweep(step=0.1, select_on=str(path))
        assert sweep.holds_out(["a", "b", "c", "d"]).tolist() == [True, False, True, False]

    def test_a_byte_order_mark_is_not_part_of_the_first_id(self, tmp_path):
        path = tmp_path / "ids.txt"
        path.write_bytes("\ufeffé\r\nb\r\n".encode())
        sweep = Sweep(step=0.1, select_on=str(path))
        assert sweep.holds_out(["é", "b", "c"]).tolist() == [True, True, False]

    def test_a_file_may_lie_in_the_home_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "ids.txt").write_text("a\n")
        sweep = Sweep(step=0.1, select_on="~/ids.txt")
        assert sweep.holds_out(["a", "b"]).tolist() == [True, False]

    @pytest.mark.parametrize(("content", "count"), [("x\n", 0), ("", 0), ("b\na\n", 2)])
    def test_a_file_that_leaves_nothing_on_a_side_is_an_error(self, tmp_path, content, count):
        path = tmp_path / "ids.txt"
        path.write_text(content)
        message = f"picks {count} of 2 images; it must pick at least one image and leave"
        with pytest.raises(ConfigError, match=message):
            Sweep(step=0.1, select_on=str(path)).splits(["a", "b"])

    def test_a_share_that_leaves_nothing_on_a_side_is_one_too(self):
        with pytest.raises(ConfigError, match=r"select_on: 0\.001 picks 0 of 2 images"):
            Sweep(step=0.1, select_on=0.001).splits(["a", "b"])

    def test_ids_may_hold_blanks(self, tmp_path):
        path = tmp_path / "ids.txt"
        path.write_text("my cats/1.jpg \n\n")
        sweep = Sweep(step=0.1, select_on=str(path))
        assert sweep.splits(["my cats/1.jpg", "cats/1.jpg"]).tolist() == [True, False]

    def test_a_file_that_cannot_be_read_is_an_error(self, tmp_path):
        (tmp_path / "ids.bin").write_bytes(b"\xff\xfe\x00")
        for path in (tmp_path / "nowhere.txt", tmp_path, tmp_path / "ids.bin"):
            with pytest.raises(ConfigError, match=rf"select_on: {path}: cannot be read"):
                Sweep(step=0.1, select_on=str(path)).holds_out(["a"])
