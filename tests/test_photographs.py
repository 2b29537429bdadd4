"""Maps and boxes of photographs: those of a run, right way up, with errors that help."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from colors import WORDS, write_colors
from command_line import cli
from PIL import ExifTags, Image

import wsol_bench
from wsol_bench import Plan, cam_method
from wsol_bench.cli.pictures import _file_names
from wsol_bench.common.image_files import problem_of
from wsol_bench.errors import ConfigError, ImageError, ModelError
from wsol_bench.images.decode import load_upright
from wsol_bench.models.class_words import published_words
from wsol_bench.models.classifiers import load_classifier
from wsol_bench.photographs import Explainer, explain

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
VIEWS = [
    {"name": "gradcam-2017", "input": {"flip": True, "scales": [1.0, 1.25]}},
    {"name": "gradcam-2017", "input": {"ten_crop": {"resize": "shorter_side", "resize_to": 256}}},
]


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
    @pytest.mark.parametrize("protocol", ["gradcam-2017", "zhou-2016", *VIEWS], ids=str)
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

    def test_without_a_list_are_numbers(self, photograph, capsys):
        [explained] = explain(
            photograph, model="squeezenet1_1", weights="random", methods="grad_cam", device="cpu"
        )
        assert all(name.removeprefix("output ").isdigit() for name in explained.classes)
        err = capsys.readouterr().err
        assert "nothing says what the 1000 outputs of squeezenet1_1 are; classes=... names" in err
        assert "classes='imagenet'" in err

    def test_imagenets_are_named_by_a_word(self, photograph):
        explainer = Explainer("squeezenet1_1", weights="random", classes="imagenet", device="cpu")
        assert explainer.hint == ""
        assert {*explainer.of(photograph).classes} < {*published_words("resnet50", "DEFAULT")}
        with pytest.raises(ModelError, match="1000 classes, but the network shapes_net has 16"):
            explain(photograph, classes="imagenet", **MODEL)

    @pytest.mark.parametrize(
        ("line", "names"),
        [
            ("n{n:08} word {n}, other", "word {n}, other"),  # a code, and words
            ("polar bear {n}", "polar bear {n}"),  # a name of several words
            ("bear", None),  # the same for all
        ],
    )
    def test_of_a_file_are_words_or_whole_lines(self, photograph, tmp_path, line, names):
        file = tmp_path / "names.txt"
        lines = [line.format(n=n) for n in range(16)]
        if line.startswith("polar"):
            lines[0] = "7up bottle"  # a digit in one name makes no codes of the others
        file.write_text("\n".join(lines))
        options = {"model": "shapes_net", "classes": file, "device": "cpu"}
        if names is None:
            with pytest.raises(ModelError, match="lists class 'bear' twice"):
                explain(photograph, **options)
            return
        [explained] = explain(photograph, **options)
        assert {*explained.classes} < {"7up bottle", *(names.format(n=n) for n in range(16))}

    def test_of_files_are_distinct(self, tmp_path):
        paths = [tmp_path / "a/x.jpg", tmp_path / "b/x.png", tmp_path / "y.jpg"]
        assert list(_file_names(paths)) == ["x_maps.png", "x_maps-2.png", "y_maps.png"]


def words_of(figure):
    """The texts of a figure outside its panels."""
    return [text.get_text() for text in figure.texts]


class TestObjects:
    def test_a_network_gives_what_its_name_gives(self, photograph):
        network = load_classifier("shapes_net").module.train()
        [named] = explain(photograph, **MODEL)
        model = {"name": network, "label": "mine"}
        for given, options in ((network, {"layer": "features"}), (model, {})):
            [ours] = explain(photograph, model=given, device=torch.device("cpu"), **options)
            assert np.array_equal(ours.maps["grad_cam"], named.maps["grad_cam"])
            assert ours.probabilities == named.probabilities
        assert ours.model == "mine"
        assert network.training  # a copy is evaluated

    def test_the_normalization_of_a_network_counts(self, photograph):
        network = load_classifier("shapes_net").module
        gray = {"name": network, "mean": (0.5, 0.5, 0.5), "std": (0.9, 0.9, 0.9)}
        [one], [other] = (explain(photograph, model=m, device="cpu") for m in (network, gray))
        assert one.probabilities != other.probabilities

    def test_methods_may_be_objects_with_options(self, photograph):
        @cam_method("photographs_cam", plan=Plan(gradients=True))
        def photographs_cam(record, *, power: float = 1.0):
            return record.activations.relu().pow(power)[:, None, 0].expand(-1, 5, -1, -1)

        methods = [photographs_cam, {"name": photographs_cam, "power": 2.0}, "grad_cam"]
        [explained] = explain(photograph, methods=methods, **MODEL)
        assert list(explained.maps) == ["photographs_cam", "photographs_cam+power=2.0", "grad_cam"]
        [alone] = explain(photograph, methods=photographs_cam, **MODEL)
        assert list(alone.maps) == ["photographs_cam"]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"methods": lambda record: record}, r"methods\.0: .* is not registered: is @cam_me"),
            ({"methods": [len]}, r"methods\.0: .* found len, which is not registered"),
            ({"methods": 3}, "methods: expected a method's name or a list of them, found int"),
            ({"model": 3}, r"model: expected the name of a model, .* torch\.nn\.Module, found int"),
            ({"model": None}, "model: expected the name of a model, .* found NoneType"),
            ({"model": torch.nn.Linear(1, 1), "weights": "DEFAULT"}, "expected no 'weights'"),
        ],
    )
    def test_other_objects_are_refused_in_the_words_of_a_run(self, photograph, options, message):
        with pytest.raises(ConfigError, match=message):
            explain(photograph, **{**MODEL, **options})


class TestFigure:
    def test_of_several_methods_names_rows_and_columns_beside_one_photograph(self, photograph):
        [explained] = explain(photograph, methods=["grad_cam", "layer_cam"], **MODEL)
        figure = explained.figure()
        words = words_of(figure)
        for text in ("grad_cam", "layer_cam", "upright.png", "shapes_net", *explained.classes):
            assert words.count(text) == 1, text
        panels = [axes for axes in figure.axes if axes.images and axes.get_xlim()[1] == 300]
        assert len(panels) == 1 + 2 * 5
        photo, *others = (axes.get_position() for axes in panels)
        assert all(photo.y0 > other.y1 and photo.x1 < other.x0 for other in others)
        names = {text.get_text(): text.get_position() for text in figure.texts}
        rows = [others[place].y0 < names[name][1] < others[place].y1
                for place, name in ((0, "grad_cam"), (5, "layer_cam"))]  # fmt: skip
        assert rows == [True, True]
        columns = [names[name][0] for name in explained.classes]
        middles = [(panel.x0 + panel.x1) / 2 for panel in others[:5]]
        assert columns == pytest.approx(middles)

    def test_of_one_method_is_one_row_with_the_photograph(self, photograph):
        [explained] = explain(photograph, **MODEL)
        figure = explained.figure()
        panels = [axes for axes in figure.axes if axes.images and axes.get_xlim()[1] == 300]
        assert len(panels) == 6
        assert len({round(axes.get_position().y0, 6) for axes in panels}) == 1
        assert "Method: grad_cam." in " ".join(words_of(figure))

    @pytest.mark.parametrize(
        ("method", "grainy"), [("grad_cam", False), ("input_x_gradient", True)]
    )
    def test_explains_multiplied_colors_only_where_there_are_some(self, photograph, method, grainy):
        [explained] = explain(photograph, methods=method, **MODEL)
        figure = explained.figure()
        tags = [text for axes in figure.axes for text in axes.texts if "heat" in text.get_text()]
        assert bool(tags) == grainy
        assert ('"heat ×n"' in " ".join(words_of(figure))) == grainy

    def test_is_shown_in_a_notebook_and_told_in_a_line(self, photograph):
        [explained] = explain(photograph, **MODEL)
        content, _ = explained._repr_png_()
        assert Image.open(io.BytesIO(content)).width > 500
        line = repr(explained)
        assert "\n" not in line
        assert f"{photograph} by shapes_net" in line
        assert "grad_cam; .figure() draws it" in line


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

    def test_of_weights_speak_of_the_parameter_or_the_option(self, photograph, tmp_path):
        with pytest.raises(ModelError, match=r"No such file or directory; correct weights=\.\.\.$"):
            explain(photograph, weights=tmp_path / "no.pth", **MODEL)
        with pytest.raises(ModelError, match=r"correct the model's 'weights:'$"):
            explain(photograph, model={"name": "shapes_net", "weights": str(tmp_path / "no.pth")})
        torch.save({"a": torch.ones(2), "b": torch.ones(2)}, tmp_path / "other.pth")
        arguments = ("--weights", tmp_path / "other.pth", "--out", tmp_path, "-q")
        _, err = cli("explain", photograph, "--model", "shapes_net", *arguments, code=1)
        assert err.endswith("These are the weights of another network than shapes_net\n")
        torch.save({"a": {"x": torch.ones(2)}, "b": {"x": torch.ones(2)}}, tmp_path / "other.pth")
        _, err = cli("explain", photograph, "--model", "shapes_net", *arguments, code=1)
        assert "such as 'key: a'. A model has such keys in an experiment, or as a mapping" in err

    def test_of_files_are_all_told_before_the_network_is_built(self, photograph, tmp_path):
        (tmp_path / "text.jpg").write_text("no image")
        paths = [tmp_path, tmp_path / "gone.jpg", photograph, tmp_path / "text.jpg"]
        with pytest.raises(ImageError) as error:
            explain(paths, model="no_such_network")
        folder, gone, text = str(error.value).splitlines()
        assert "expected an image file, found a folder; name its files: " in folder
        assert folder.endswith("/*.jpg")
        assert "gone.jpg: the file does not exist" in gone
        assert "text.jpg: expected an image in the format JPEG, PNG, " in text
        with pytest.raises(ImageError, match="at least one image"):
            explain([])

    def test_of_damaged_files_are_told_before_the_network_is_built(self, photograph, tmp_path):
        damaged = tmp_path / "damaged.png"
        damaged.write_bytes(photograph.read_bytes()[:-3000])
        with pytest.raises(ImageError, match=r"damaged\.png: cannot be decoded"):
            explain([photograph, damaged], model="no_such_network")

    def test_of_files_say_what_to_do(self, photograph, tmp_path):
        assert "download the image first" in problem_of(Path("https://example.com/cat.jpg"))
        Image.new("1", (20_000, 10_000)).save(tmp_path / "enormous.png")
        assert "make the image smaller first" in problem_of(tmp_path / "enormous.png")
        with pytest.raises(ConfigError, match=r"images: expected the path .* found Image$"):
            explain(Image.new("RGB", (4, 4)))
        with pytest.raises(ConfigError, match=r"images: expected the path .* a list with ndarray"):
            explain([np.zeros((4, 4, 3))])

    def test_of_a_method_that_the_network_does_not_allow_are_a_row_that_says_so(self, photograph):
        methods = ["grad_cam", "attention_rollout"]
        [explained] = explain(photograph, methods=methods, **MODEL)
        assert list(explained.maps) == ["grad_cam"]
        assert list(explained.not_applicable) == ["attention_rollout"]
        axes = explained.figure().axes
        assert sum(text.get_text() == "not applicable" for one in axes for text in one.texts) == 5
        assert "attention_rollout" in words_of(explained.figure())

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
        assert err.count(f"{damaged}: cannot be decoded") == 1
        assert err.endswith("\nError: 1 of 2 photographs has no picture, as told above\n")
        _, err = cli("explain", damaged, *arguments, "-q", code=1)
        assert err.startswith(f"Error: {damaged}: cannot be decoded")

    def test_goes_on_without_files_that_are_no_photographs(self, photograph, tmp_path):
        (tmp_path / "text.jpg").write_text("no image")
        arguments = ("--model", "shapes_net", "--device", "cpu", "--out", tmp_path / "out", "-q")
        paths = (tmp_path / "text.jpg", photograph, tmp_path / "gone.jpg")
        _, err = cli("explain", *paths, *arguments, code=1)
        assert (tmp_path / "out/upright_maps.png").exists()
        text, gone, error = err.splitlines()
        assert "text.jpg: expected an image" in text
        assert "gone.jpg: the file does not exist" in gone
        assert error == "Error: 2 of 3 photographs have no picture, as told above"

    def test_says_what_it_replaces_before_the_network_is_built(self, photograph, tmp_path):
        (tmp_path / "upright_maps.png").write_text("an earlier picture")
        arguments = ("--model", "no_such_module:net", "--out", tmp_path, "-q")
        _, err = cli("explain", photograph, *arguments, code=1)
        assert err.startswith(f"replacing {tmp_path / 'upright_maps.png'}; --out FOLDER")
        assert (tmp_path / "upright_maps.png").read_text() == "an earlier picture"

    def test_never_replaces_a_photograph(self, photograph, tmp_path):
        for name in ("a.png", "a_maps.png"):
            (tmp_path / name).write_bytes(photograph.read_bytes())
        paths = (tmp_path / "a.png", tmp_path / "a_maps.png")
        _, err = cli("explain", *paths, "--out", tmp_path, "-q", code=1)
        assert "a_maps.png is a photograph, which the picture of another one would replace" in err
        assert (tmp_path / "a_maps.png").read_bytes() == photograph.read_bytes()

    def test_says_which_of_two_photographs_of_a_name_a_picture_is_of(self, photograph, tmp_path):
        (tmp_path / "b").mkdir()
        other = tmp_path / "b/upright.png"
        other.write_bytes(photograph.read_bytes())
        arguments = ("--model", "shapes_net", "--device", "cpu", "--out", tmp_path)
        _, err = cli("explain", photograph, other, other, *arguments)
        assert err.splitlines()[-2:] == [
            f"Figure: {tmp_path / 'upright_maps.png'} (of {photograph})",
            f"Figure: {tmp_path / 'upright_maps-2.png'} (of {other})",
        ]


def test_a_photograph_does_not_depend_on_a_callers_inference_mode(photograph):
    with torch.inference_mode():
        [inside] = explain(photograph, **MODEL)
    [outside] = explain(photograph, **MODEL)
    assert np.array_equal(inside.maps["grad_cam"], outside.maps["grad_cam"])
