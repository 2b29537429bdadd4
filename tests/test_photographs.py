"""Maps and boxes of photographs: those of a run, right way up, with errors that help."""

import io

import numpy as np
import pytest
import torch
from colors import WORDS, write_colors
from command_line import cli
from PIL import ExifTags, Image

import wsol_bench
from wsol_bench.errors import ConfigError, ImageError, ModelError
from wsol_bench.images.decode import load_upright
from wsol_bench.models.class_words import published_words
from wsol_bench.photographs import explain, file_names

# The stored pixels that each EXIF orientation shows upright, by the definition of the tag: where
# the first row and the first column of the stored pixels are seen.
STORED = {
    1: lambda shown: shown,
    2: lambda shown: shown[:, ::-1],  # row at the top, column on the right
    3: lambda shown: shown[::-1, ::-1],  # bottom, right
    4: lambda shown: shown[::-1],  # bottom, left
    5: lambda shown: shown.swapaxes(0, 1),  # left, top
    6: lambda shown: shown[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda shown: shown[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda shown: shown[::-1].swapaxes(0, 1),  # left, bottom
}
MODEL = {"model": "shapes_net", "device": "cpu"}


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """A photograph that no turn leaves as it is: (height, width) 200 x 300."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 120, (200, 300, 3), dtype=np.uint8)
    pixels[20:90, 40:130] = (220, 60, 40)
    pixels[120:180, 200:280] = (40, 90, 220)
    path = tmp_path_factory.mktemp("photographs") / "upright.png"
    Image.fromarray(pixels).save(path)
    return path


def turned(photograph, orientation, path):
    """A copy of a photograph that is stored in another way, and its EXIF orientation."""
    pixels = np.ascontiguousarray(STORED[orientation](np.asarray(Image.open(photograph))))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


class TestOrientation:
    @pytest.mark.parametrize("suffix", ["png", "tif"])
    @pytest.mark.parametrize("orientation", STORED)
    def test_the_picture_of_a_turned_copy_is_the_upright_one(
        self, photograph, tmp_path, orientation, suffix
    ):
        copy = turned(photograph, orientation, tmp_path / f"copy.{suffix}")
        assert np.array_equal(load_upright(copy), Image.open(photograph))

    def test_maps_boxes_and_figure_of_turned_copies_are_those_of_the_upright_one(
        self, photograph, tmp_path
    ):
        def pixels(explained):
            content = io.BytesIO()
            explained.figure().savefig(content, format="png", dpi=80)
            return np.asarray(Image.open(content))

        copies = [tmp_path / f"{n}" / photograph.name for n in STORED]
        for copy, orientation in zip(copies, STORED, strict=True):
            copy.parent.mkdir()
            turned(photograph, orientation, copy)
        [upright, *others] = explain([photograph, *copies], methods=["grad_cam"], **MODEL)
        expected = pixels(upright)
        assert upright.picture.size == (300, 200)
        for other in others:
            assert other.classes == upright.classes
            assert np.array_equal(other.maps["grad_cam"], upright.maps["grad_cam"])
            assert np.array_equal(other.boxes["grad_cam"], upright.boxes["grad_cam"])
        assert np.array_equal(pixels(others[-1]), expected)

    def test_that_is_no_orientation_is_ignored(self, photograph, tmp_path):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 77
        image = Image.open(photograph)
        image.save(tmp_path / "odd.png", exif=exif)
        assert np.array_equal(load_upright(tmp_path / "odd.png"), image)


class TestBoxes:
    @pytest.mark.parametrize("protocol", ["gradcam-2017", "zhou-2016"])
    def test_are_those_of_a_run_on_the_same_images(self, protocol, tmp_path):
        methods = ["grad_cam", "layer_cam", "guided_backprop"]
        run = wsol_bench.run(
            {
                "name": "shapes",
                "dataset": "shapes",
                "models": ["shapes_net"],
                "methods": methods,
                "protocol": protocol,
                "limit": 4,
                "workers": 0,
                "device": "cpu",
            }
        )
        images = run.images
        results = explain(images["path"].tolist(), methods=methods, protocol=protocol, **MODEL)
        rows = run.rows.set_index(["image_id", "method", "rank"])
        compared = 0
        for image_id, explained in zip(images["image_id"], results, strict=True):
            for method in methods:
                for rank, wnid in enumerate(explained.classes, 1):
                    if (image_id, method, rank) not in rows.index:
                        continue  # a method of the label alone
                    row = rows.loc[(image_id, method, rank)]
                    box = explained.boxes[method][rank - 1]
                    assert row["class"] == wnid
                    assert row["score"] == pytest.approx(explained.probabilities[rank - 1])
                    expected = row[["x0", "y0", "x1", "y1"]].to_numpy(float)
                    np.testing.assert_array_equal(box, expected)
                    compared += np.isfinite(expected).all()
        assert compared > 30

    def test_by_hand(self, tmp_path):
        """The network averages colors, so the map of red is where red is."""
        root = write_colors(tmp_path)
        names = tmp_path / "names.txt"
        names.write_text("".join(f"n{n} {word}\n" for n, word in enumerate(WORDS)))
        [image] = sorted(root.rglob("*00000001.JPEG"))
        [explained] = explain(
            image, model="colors:color_net", methods="hires_cam", layer="cells",
            weights="random", classes=names, device="cpu",
        )  # fmt: skip
        assert explained.classes[0] == "red"
        assert len(explained.classes) == 3
        x0, y0, x1, y1 = explained.boxes["hires_cam"][0]
        # The rectangle is (64, 32, 160, 128); bilinear upsampling reaches up to a cell beyond it.
        assert 32 <= x0 <= 64 < 160 <= x1 <= 192
        assert 0 <= y0 <= 32 < 128 <= y1 <= 160


class TestNames:
    def test_of_published_weights_are_torchvisions(self):
        words = published_words("resnet50", "DEFAULT")
        assert len(words) == 1000
        assert words[0] == "tench"
        assert published_words("resnet50", "random") is None
        assert published_words("my_module:net", "DEFAULT") is None

    def test_without_a_list_are_numbers(self, photograph, tmp_path):
        [explained] = explain(
            photograph, model="squeezenet1_1", weights="random", methods="grad_cam", device="cpu"
        )
        assert all(name.removeprefix("output ").isdigit() for name in explained.classes)

    def test_of_files_are_distinct(self, tmp_path):
        paths = [tmp_path / "a/x.jpg", tmp_path / "b/x.png", tmp_path / "y.jpg"]
        assert list(file_names(paths)) == ["x_maps", "x_maps-2", "y_maps"]


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"methods": "gradcam"}, "unknown .* 'gradcam'; did you mean 'grad_cam'"),
            ({"methods": "center_box"}, "found 'center_box', which needs none"),
            ({"methods": []}, "at least one name"),
            ({"protocol": "choe-2020-v2"}, "takes one box of each map .*gradcam-2017"),
            ({"protocol": "gradcam"}, "unknown protocol 'gradcam'; did you mean"),
        ],
    )
    def test_of_names_say_what_there_is(self, photograph, options, message):
        with pytest.raises(ConfigError, match=message):
            explain(photograph, **{**MODEL, **options})

    def test_of_networks_say_what_there_is(self, photograph):
        with pytest.raises(ModelError, match="did you mean 'resnet50'"):
            explain(photograph, model="resnet5o", device="cpu")
        with pytest.raises(ModelError, match="layer"):
            explain(photograph, layer="no_layer", **MODEL)

    def test_of_files_are_all_told_before_the_network_is_built(self, photograph, tmp_path):
        (tmp_path / "text.jpg").write_text("no image")
        paths = [tmp_path, tmp_path / "gone.jpg", photograph, tmp_path / "text.jpg"]
        with pytest.raises(ImageError) as error:
            explain(paths, model="no_such_network")
        folder, gone, text = str(error.value).splitlines()
        assert "expected an image file, found a folder; name its files" in folder
        assert "gone.jpg: the file does not exist" in gone
        assert "text.jpg: cannot be read as an image" in text
        with pytest.raises(ImageError, match="at least one image"):
            explain([])

    def test_of_a_method_that_the_network_does_not_allow_are_a_row_that_says_so(self, photograph):
        methods = ["grad_cam", "attention_rollout"]
        [explained] = explain(photograph, methods=methods, **MODEL)
        assert list(explained.maps) == ["grad_cam"]
        assert list(explained.not_applicable) == ["attention_rollout"]
        axes = explained.figure().axes
        assert sum(text.get_text() == "not applicable" for one in axes for text in one.texts) == 5

    def test_of_logits_that_are_not_finite(self, photograph, tmp_path):
        image = Image.new("RGB", (50, 40), (0, 0, 255))
        image.save(tmp_path / "blue.png")
        with pytest.raises(ModelError, match=r"blue\.png: the outputs .* are not finite"):
            explain(
                tmp_path / "blue.png", model="colors:net_without_blue", weights="random",
                methods="grad_cam", layer="cells", device="cpu",
            )  # fmt: skip


class TestCommand:
    def test_writes_a_picture_of_each_and_names_them_last(self, photograph, tmp_path):
        turned(photograph, 6, tmp_path / "b.jpg")
        arguments = ("--model", "shapes_net", "--methods", "grad_cam,layer_cam", "--device", "cpu")
        out, err = cli("explain", photograph, tmp_path / "b.jpg", *arguments, "--out", tmp_path)
        files = [tmp_path / f"{name}_maps.png" for name in ("upright", "b")]
        assert out == ""
        assert err.splitlines()[-2:] == [f"Figure: {file}" for file in files]
        for file in files:
            with Image.open(file) as picture:
                assert picture.width > 1000

    def test_keeps_what_is_done_when_a_photograph_is_damaged(self, photograph, tmp_path):
        damaged = tmp_path / "damaged.png"
        damaged.write_bytes(photograph.read_bytes()[:-3000])
        arguments = ("--model", "shapes_net", "--device", "cpu", "--out", tmp_path / "out")
        _, err = cli("explain", damaged, photograph, *arguments, code=1)
        assert (tmp_path / "out/upright_maps.png").exists()
        assert err.splitlines()[-1].startswith(f"Error: {damaged}: cannot be decoded")


def test_a_photograph_does_not_depend_on_a_callers_inference_mode(photograph):
    with torch.inference_mode():
        [inside] = explain(photograph, **MODEL)
    [outside] = explain(photograph, **MODEL)
    assert np.array_equal(inside.maps["grad_cam"], outside.maps["grad_cam"])
