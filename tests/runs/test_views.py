"""Runs whose network sees several views of an image, against views that are passed by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from colors import color_experiment, color_net
from few_channels import CHANNELS, few_channels
from PIL import Image
from timeless import assert_same_tables
from torch import nn
from torchvision.transforms import v2

import wsol_bench
from wsol_bench import localization_maps
from wsol_bench.errors import ConfigError, ModelError, RunError
from wsol_bench.models.checkpoints import read_weights
from wsol_bench.models.normalization import IMAGENET_MEAN, IMAGENET_STD
from wsol_bench.models.output_reading import OutputReading
from wsol_bench.models.shapes_net import WEIGHTS, ShapesNet
from wsol_bench.runs.rescore import rescore
from wsol_bench.runs.views import _score_of_mean

SIDE = 224
TEN_CROP = {"resize": "squash", "resize_to": 256}
# One of each kind: of a layer with and without gradients, of the image, of another library.
METHODS = ["cam", "grad_cam", "guided_backprop", "pytorch_grad_cam/GradCAM"]
OF_PIXELS = {"guided_backprop", "pytorch_grad_cam/GradCAM"}


def of_input(**section: Any) -> dict[str, Any]:
    return {"name": "gradcam-2017", "input": section}


def run(**changes: Any) -> Any:
    experiment = {
        "name": "views", "dataset": "shapes", "models": ["shapes_net"], "methods": ["cam"],
        "protocol": "gradcam-2017", "limit": 3, "batch_size": 2, "workers": 0, "device": "cpu",
    }  # fmt: skip
    return wsol_bench.run({**experiment, **changes})


@pytest.fixture(scope="module")
def plain() -> Any:
    return run(methods=METHODS)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    stored = read_weights(WEIGHTS)
    net = ShapesNet(len(stored.order.wnids)).eval()
    net.load_state_dict(stored.state)
    return net


def maps_of(results: Any) -> dict[tuple[str, str, int], np.ndarray]:
    """The stored maps in units of the method, by method, image and rank."""
    return {
        (line["method"], line["image_id"], line["rank"]): line["scale"]
        * np.frombuffer(line["map"], np.float16).reshape(line["height"], line["width"])
        for line in results.maps.to_dict(orient="records")
    }


def normalized(image: Image.Image, side: int) -> torch.Tensor:
    """(1, 3, side, side), by torchvision."""
    to_input = v2.Compose(
        [
            v2.Resize((side, side)),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    return to_input(image)[None]


def mean_by_hand(net, image, index, method, scales, *, flip, grid):
    """The mean of the maps of all views: the method's own maps, interpolated to a grid."""
    maps = []
    for scale in scales:
        pixels = normalized(image, round(SIDE * scale))
        for mirrored in (False, True) if flip else (False,):
            seen = torch.flip(pixels, [3]) if mirrored else pixels
            made = localization_maps(net, seen, [method], layer="features", head="fc",
                                     targets=torch.tensor([[index]]))[method]  # fmt: skip
            made = torch.flip(made, [3]) if mirrored else made
            maps.append(nn.functional.interpolate(made, grid, mode="bilinear")[0, 0])
    return torch.stack(maps).mean(0).numpy()


class TestMaps:
    @pytest.mark.parametrize(
        ("section", "cells"),
        [
            ({"flip": True}, 14),
            ({"scales": [1.0, 1.5]}, 21),
            ({"scales": [1.0, 0.5]}, 14),
            ({"scales": [0.75]}, 11),  # 168 pixels are 10.5 strides
            ({"scales": [0.5, 1.5], "flip": True}, 21),
        ],
        ids=str,
    )
    def test_are_the_means_over_views_that_are_passed_by_hand(self, plain, net, section, cells):
        results = run(methods=METHODS, protocol=of_input(**section))
        classes = results.folder.read("classes")["wnid"].tolist()
        paths = results.images.set_index("image_id")["path"]
        found = maps_of(results)
        rows = results.rows[results.rows["rank"] <= 2]
        assert set(rows["method"]) == set(METHODS)
        for row in rows.to_dict(orient="records"):
            method = row["method"]
            side = cells
            if method in OF_PIXELS:
                side = min(SIDE, round(SIDE * max(section.get("scales", [1.0]))))
            expected = mean_by_hand(
                net, Image.open(paths[row["image_id"]]).convert("RGB"),
                classes.index(row["class"]), method, section.get("scales", [1.0]),
                flip=section.get("flip", False), grid=(side, side),
            )  # fmt: skip
            ours = found[method, row["image_id"], row["rank"]]
            assert ours.shape == expected.shape
            assert np.abs(ours - expected).max() <= 2e-3 * np.abs(expected).max()
        assert_same_predictions(results, plain)

    def test_the_scale_of_the_input_alone_changes_no_bit(self, plain):
        results = run(methods=METHODS, protocol=of_input(scales=[1.0]))
        without = ["protocol", "protocol_hash"]
        for name in ("rows", "summary"):
            ours, theirs = (
                getattr(one, name).drop(columns=[*without, "seconds"], errors="ignore")
                for one in (results, plain)
            )
            assert ours.equals(theirs)
        assert_same_tables(results, plain, ["images", "maps"])

    def test_of_a_network_that_knows_no_left_and_right_are_the_same_mirrored(self, root):
        """Averages of cells, which lie alike in the mirror image."""
        plain = wsol_bench.run(color_experiment(root, workers=0))
        flipped = wsol_bench.run(
            color_experiment(root, workers=0, protocol=of_input(flip=True, size=SIDE))
        )
        assert color_net()[0].kernel_size == 32
        assert SIDE % 32 == 0
        assert_same_tables(flipped, plain, ["maps", "images"])

    def test_of_an_image_that_is_its_mirror_image_are_made_symmetric(self, net, tmp_path):
        """The same input twice, so the mean of a map and its mirror image, which is symmetric."""
        half = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE // 2, 3), np.uint8)
        Image.fromarray(np.concatenate([half, half[:, ::-1]], axis=1)).save(tmp_path / "a.png")
        [once], [twice] = (
            wsol_bench.explain(
                tmp_path / "a.png", model="shapes_net", methods=["cam"], protocol=protocol
            )
            for protocol in ("gradcam-2017", of_input(flip=True))
        )
        one, both = (each.maps["cam"][0].astype(np.float64) for each in (once, twice))
        assert np.abs(one - one[:, ::-1]).max() > 0.1  # strides begin at the left
        mean = (one + one[:, ::-1]) / 2
        assert np.abs(both - mean / mean.max()).max() < 2e-3
        assert np.array_equal(both, both[:, ::-1])

    def test_larger_than_the_input_are_reduced_to_it(self):
        results = run(methods=["guided_backprop"], protocol=of_input(scales=[2.0]), limit=2)
        assert {each.shape for each in maps_of(results).values()} == {(SIDE, SIDE)}

    def test_at_several_layers_for_all_kinds_of_protocols(self):
        models = [{"name": "shapes_net", "layers": ["features.block3", "features.block5"]}]
        for name in ("gradcam-2017", "choe-2020-v1"):
            protocol = {"name": name, "input": {"flip": True, "scales": [1.0, 0.5]}}
            results = run(models=models, methods=["layer_cam"], protocol=protocol, limit=3)
            assert results.summary["layer"].tolist() == models[0]["layers"]
            assert results.summary["forward_passes"].tolist() == [4.0, 4.0]

    def test_of_input_that_keeps_its_shape_are_the_size_of_the_largest_view(self):
        section = {"geometry": "shorter_side", "size": 112, "scales": [1.0, 2.0]}
        results = run(protocol=of_input(**section), limit=3)
        height, width = results.images.set_index("image_id")[["height", "width"]].to_numpy().T
        sizes = [
            (224, 2 * int(112 * w / h)) if h <= w else (2 * int(112 * h / w), 224)
            for h, w in zip(height, width, strict=True)
        ]
        found = {image: each.shape for (_, image, _), each in maps_of(results).items()}
        expected = [tuple(-(-side // 16) for side in size) for size in sizes]
        assert list(found.values()) == expected


def assert_same_predictions(results: Any, plain: Any) -> None:
    keys = ["image_id", "rank", "class", "score"]
    assert results.rows[keys].equals(plain.rows[keys])
    columns = ["image_id", "status", "label_rank", "label_score"]
    assert results.images[columns].equals(plain.images[columns])


class TestTenCrop:
    @pytest.mark.parametrize("resize", ["squash", "shorter_side"])
    def test_predictions_are_the_mean_probabilities_of_torchvisions_crops(self, plain, net, resize):
        section = {"ten_crop": {"resize": resize, "resize_to": 256}}
        results = run(methods=METHODS, protocol=of_input(**section))
        classes = results.folder.read("classes")["wnid"].tolist()
        to_crops = v2.TenCrop(SIDE)
        to_tensor = v2.Compose(
            [
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )
        rows = results.rows[results.rows["method"] == "cam"]
        images = results.images.set_index("image_id")
        for image_id, of_image in rows.groupby("image_id"):
            image = Image.open(images.loc[image_id, "path"]).convert("RGB")
            resized = v2.Resize((256, 256) if resize == "squash" else 256)(image)
            with torch.no_grad():
                logits = net(torch.stack([to_tensor(crop) for crop in to_crops(resized)]))
            mean = logits.double().softmax(1).mean(0).numpy()
            order = np.argsort(-mean)
            best = of_image[of_image["rank"] <= 5].sort_values("rank")
            assert best["class"].tolist() == [classes[index] for index in order[:5]]
            assert np.allclose(best["score"], mean[order[:5]], rtol=1e-5)
            label = classes.index(images.loc[image_id, "label"])
            assert images.loc[image_id, "label_rank"] == 1 + order.tolist().index(label)
            assert np.isclose(images.loc[image_id, "label_score"], mean[label], rtol=1e-5)
        assert not np.allclose(results.images["label_score"], plain.images["label_score"])

    def test_maps_are_those_of_the_input(self, plain):
        """Of the classes that both predict."""
        results = run(methods=METHODS, protocol=of_input(ten_crop=TEN_CROP))
        both = []
        for one in (results, plain):
            rows = one.rows.set_index(["method", "image_id", "rank"])["class"]
            both.append({(*key[:2], rows[key]): each for key, each in maps_of(one).items()})
        ours, theirs = both
        common = set(ours) & set(theirs)
        assert len(common) > 20
        for key in common:
            size = np.abs(theirs[key]).max()
            assert np.abs(ours[key] - theirs[key]).max() <= 1e-3 * size

    def test_an_image_with_a_crop_that_overflows_has_no_prediction(self, root):
        """Of red, green, blue and red, blue alone."""
        experiment = color_experiment(
            root, workers=0, protocol=of_input(ten_crop=TEN_CROP), max_failed=0.5
        )
        experiment["models"][0]["name"] = "colors:net_without_blue"
        results = wsol_bench.run(experiment)
        status = results.images.set_index("label")["status"]
        assert status["n00000003"] == "not_finite"
        assert set(status[["n00000001", "n00000002"]]) == {"evaluated"}


class TestCosts:
    @pytest.mark.parametrize(
        ("section", "for_predictions", "n_views"),
        [
            ({"flip": True}, 0, 2),
            ({"scales": [1.0, 1.5, 0.5], "flip": True}, 0, 6),
            ({"scales": [1.5, 0.5]}, 1, 2),
            ({"ten_crop": TEN_CROP}, 10, 1),
            ({"ten_crop": TEN_CROP, "scales": [0.5], "flip": True}, 10, 2),
        ],
        ids=str,
    )
    def test_passes_of_all_views_are_counted(self, section, for_predictions, n_views):
        """Six class slots; the sanity check's network predicts nothing."""
        name = "few_channels:few_channels"
        randomized = {"name": "grad_cam", "sanity": "randomized_weights"}
        results = run(
            models=[{"name": name, "label": "net", "layer": "features", "head": "fc"}],
            methods=["cam", "grad_cam", "score_cam", "guided_backprop", randomized, "le_grad",
                     "center_box"],
            protocol=of_input(**section),
            limit=4,
        )  # fmt: skip
        passes = results.summary.set_index("method")[["forward_passes", "backward_passes"]]
        first = for_predictions + n_views
        assert passes.apply(tuple, axis=1).to_dict() == {
            "cam": (first, 0),
            "grad_cam": (first, 6 * n_views),
            "score_cam": (first + n_views * CHANNELS, 0),
            "guided_backprop": (first + n_views, n_views),
            "randomized_weights(grad_cam)": (n_views, 6 * n_views),
            "le_grad": (first, 0),
            "center_box": (0, 0),
        }
        reason = results.summary.set_index("method")["reason"]
        assert reason["le_grad"].startswith("le_grad is not applicable to FewChannels: ")
        assert (reason.drop("le_grad") == "").all()

    def test_without_methods_of_a_network_only_predictions_are_made(self):
        results = run(methods=["center_box"], protocol=of_input(scales=[0.5], flip=True))
        assert results.summary["forward_passes"].tolist() == [0.0]


class TestOtherNumbers:
    def test_what_a_method_measures_is_the_mean_over_the_views(self):
        """Of FullGrad, which measures how complete each of its maps is."""
        measured = [
            run(methods=["full_grad"], protocol=of_input(scales=scales)).rows
            for scales in ([1.0], [0.5], [1.0, 0.5])
        ]
        columns = [name for name in measured[0].columns if name.startswith("completeness")]
        assert columns
        first, second, both = (rows[columns].to_numpy(np.float64) for rows in measured)
        assert np.allclose(both, (first + second) / 2, rtol=1e-6, equal_nan=True)
        assert not np.allclose(first, second, equal_nan=True)

    def test_faithfulness_is_that_of_the_mean_map_on_the_input(self):
        """The classes and their scores are those of no views, and the curves are another map's."""
        plain = run(faithfulness=4)
        results = run(faithfulness=4, protocol=of_input(flip=True, scales=[1.0, 1.5]))
        first = plain.rows["rank"] == 1
        assert not np.allclose(
            plain.rows.loc[first, "insertion"], results.rows.loc[first, "insertion"]
        )
        assert np.array_equal(plain.rows.loc[first, "class"], results.rows.loc[first, "class"])


def picky() -> nn.Module:
    """A network that refuses images wider than 300 pixels."""
    net = few_channels()

    def refuse(module, inputs):
        if inputs[0].shape[-1] > 300:
            raise ValueError("too wide")

    net.register_forward_pre_hook(refuse)
    return net


class TestRefused:
    def test_a_network_of_one_size_names_the_scales_when_it_is_loaded(self):
        models = [{"name": "networks:small_vit", "arguments": {"num_classes": 16}}]
        one_size = {"size": 64}
        run(models=models, methods=["center_box"], protocol=of_input(**one_size), limit=2)
        with pytest.raises(
            ModelError,
            match=r"does not take a 96 x 96 image: .*Wrong image height.*'input\.scales'",
        ):
            run(models=models, protocol=of_input(**one_size, scales=[1.0, 1.5]), limit=2)

    def test_a_network_that_fails_on_a_view_names_the_scales(self, tmp_path):
        """Loading passes 280 x 280 pixels, the photograph has 314 x 280 at this scale."""
        Image.new("RGB", (224, 200)).save(tmp_path / "a.png")
        model = {"name": picky(), "layer": "features", "head": "fc"}
        protocol = of_input(geometry="shorter_side", size=200, scales=[1.0, 1.4])
        with pytest.raises(ModelError, match=r"too wide.* at 1\.4 times .*input\.scales"):
            wsol_bench.explain(tmp_path / "a.png", model=model, protocol=protocol, methods=["cam"])

    def test_stored_maps_of_other_views(self, plain):
        for section in ({"flip": True}, {"scales": [0.5]}, {"ten_crop": TEN_CROP}):
            with pytest.raises(RunError, match="input differs from that of its maps"):
                rescore(plain.folder, of_input(**section))

    def test_a_crop_smaller_than_the_input(self):
        with pytest.raises(ConfigError, match=r"200 is smaller than size 224"):
            run(protocol=of_input(ten_crop={**TEN_CROP, "resize_to": 200}))


class TestMeanOfCrops:
    """The scores of an image, from the logits of its crops."""

    def test_are_logarithms_of_the_mean_probabilities(self):
        logits = torch.tensor([[[1.0, 2.0, 3.0]], [[0.0, 5.0, -400.0]]])
        expected = logits.double().softmax(dim=2).mean(dim=0)
        assert torch.allclose(_score_of_mean(logits, OutputReading()).exp(), expected, rtol=1e-12)

    def test_are_nan_for_an_image_with_a_logit_that_is_not_finite_and_for_no_other(self):
        """An infinite logit would be a probability of 0 or 1 as any other."""
        logits = torch.zeros(2, 3, 4)
        logits[1, 0, 2] = -torch.inf
        logits[0, 2, 1] = torch.nan
        is_nan = _score_of_mean(logits, OutputReading()).isnan().all(dim=1)
        assert is_nan.tolist() == [True, False, True]
