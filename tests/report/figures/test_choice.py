"""The choice of images and methods, beside rows that are read by hand."""

import pytest

from wsol_bench.errors import ConfigError
from wsol_bench.report.figures.choice import Choice, chosen_images, chosen_lines
from wsol_bench.report.page.collection import Collection


@pytest.fixture(scope="module")
def collection(run):
    return Collection([run.folder])


@pytest.fixture(scope="module")
def ious(run):
    """The IoU of the label's box, by image and method."""
    rows = run.rows.merge(run.images[["image_id", "label"]], on="image_id")
    return rows[rows["class"] == rows["label"]].pivot(
        index="image_id", columns="method", values="iou"
    )


def ids_of(collection, n=3, **choice):
    choice = Choice(**choice)
    lines, _ = chosen_lines(collection, choice)
    chosen = chosen_images(collection, choice, lines, n)
    return [collection.images.ids[image] for image in chosen.images], chosen.rule


class TestImages:
    def test_random_ones_depend_on_the_seed_alone(self, collection):
        first, rule = ids_of(collection, seed=1)
        assert first == ids_of(collection, seed=1, methods=["cam"])[0]
        assert any(ids_of(collection, seed=seed)[0] != first for seed in range(2, 6))
        assert rule == "Images: 3 of 10, drawn at random (seed 1)."
        assert sorted(ids_of(collection, n=50)[0]) == sorted(collection.images.ids)

    @pytest.mark.parametrize(("choose", "ascending"), [("worst", True), ("best", False)])
    @pytest.mark.parametrize("methods", [["cam"], ["cam", "center_gaussian"]])
    def test_worst_and_best_are_by_the_mean_iou(self, collection, ious, choose, ascending, methods):
        found, rule = ids_of(collection, n=4, choose=choose, methods=methods)
        mean = ious[methods].mean(axis=1)
        expected = mean.sort_values(ascending=ascending).to_numpy()[:4]
        assert mean.loc[found].to_numpy() == pytest.approx(expected)
        assert ("lowest" if ascending else "highest") in rule

    def test_where_methods_differ_the_first_hits_and_the_second_misses(self, collection, ious):
        expected = ious.index[(ious["cam"] >= 0.5) & (ious["center_gaussian"] < 0.5)]
        assert len(expected)
        methods = ["cam", "center_gaussian"]
        found, rule = ids_of(collection, n=50, choose="differ", methods=methods)
        assert sorted(found) == sorted(expected)
        assert f"{len(expected)} of the {len(expected)} that cam hits and center_gaussian" in rule

    def test_differ_takes_the_first_methods_that_do_unless_they_are_named(self, collection, ious):
        """The methods cam and grad_cam are equal here."""
        expected = ious.index[(ious["cam"] >= 0.5) & (ious["center_gaussian"] < 0.5)]
        found, rule = ids_of(collection, n=50, choose="differ")
        assert sorted(found) == sorted(expected)
        assert "that cam hits and center_gaussian misses" in rule

    def test_differ_says_which_methods_do(self, collection, ious):
        n = int(((ious["cam"] >= 0.5) & (ious["center_gaussian"] < 0.5)).sum())
        others = rf"other methods differ: cam,center_gaussian \({n} images\)"
        equal = "cam hits no image that grad_cam misses, and grad_cam hits none that cam misses; "
        with pytest.raises(ConfigError, match=equal + others):
            ids_of(collection, choose="differ", methods=["cam", "grad_cam"])
        for methods in (["cam"], ["cam", "cam"]):
            with pytest.raises(ConfigError, match=rf"two methods .* only cam; {others}"):
                ids_of(collection, choose="differ", methods=methods)

    def test_differ_says_so_where_no_methods_do(self, mistaken):
        collection = Collection([mistaken.folder])
        with pytest.raises(ConfigError, match=r"found only cam; no methods differ .* random"):
            ids_of(collection, choose="differ")

    @pytest.mark.parametrize("name", ["n00000002", "green", "Green"])
    def test_of_a_class_by_wnid_or_word(self, run, collection, name):
        images = run.images
        expected = images["image_id"][images["label"] == "n00000002"]
        found, rule = ids_of(collection, n=50, class_name=name)
        assert sorted(found) == sorted(expected)
        assert "of class green" in rule

    def test_by_ids_keep_their_order(self, collection):
        ids = [collection.images.ids[n] for n in (4, 1, 4)]
        assert ids_of(collection, ids=ids)[0] == ids[:2]

    def test_of_unknown_names_say_what_there_is(self, collection):
        image_id = collection.images.ids[0]
        with pytest.raises(ConfigError, match=f"did you mean '{image_id}'"):
            ids_of(collection, ids=[f"{image_id}x"])
        with pytest.raises(ConfigError, match="found 'gren'; did you mean 'green'"):
            ids_of(collection, class_name="gren")
        for ids, n in (([], "none"), ([image_id] * 201, "201")):
            with pytest.raises(ConfigError, match=f"from 1 to 200 ids, found {n}"):
                ids_of(collection, ids=ids)

    def test_that_need_hits_are_refused_under_pixels(self, masked):
        collection = Collection([masked.folder])
        for choose in ("best", "worst", "differ"):
            with pytest.raises(ConfigError, match="hits or misses, found none"):
                ids_of(collection, choose=choose)

    def test_under_a_sweep_are_by_hits_and_judged_images(self, swept):
        collection = Collection([swept.folder])
        held_out = set(swept.images["image_id"][swept.images["held_out"]])
        found, rule = ids_of(collection, n=50, choose="worst", methods=["cam"])
        assert held_out
        assert sorted(found) == sorted(set(collection.images.ids) - held_out)
        assert "lowest number of hits" in rule


class TestLines:
    def test_are_in_the_order_of_their_names(self, collection):
        lines, n = chosen_lines(collection, Choice(methods=["grad_cam", "cam"]))
        assert [collection.lines[line].method for line in lines] == ["grad_cam", "cam"]
        assert n == 3

    def test_of_several_models_are_as_many_of_each(self, run, swept):
        collection = Collection([run.folder, swept.folder])
        for most, expected in ((2, [0, 3]), (5, [0, 1, 3, 4]), (6, [*range(6)]), (1, [0])):
            assert chosen_lines(collection, Choice(), most=most) == (expected, 6)

    @pytest.mark.parametrize(
        ("choice", "message"),
        [
            ({"methods": ["gradcam"]}, "methods: .* found 'gradcam'; did you mean 'grad_cam'"),
            ({"models": ["net"]}, "models: .* found 'net'; .*known: color_net"),
            ({"methods": []}, "at least one name"),
        ],
    )
    def test_of_unknown_names_say_what_there_is(self, collection, choice, message):
        with pytest.raises(ConfigError, match=message):
            chosen_lines(collection, Choice(**choice))
