"""Sheets of stored runs: their captions agree with the numbers, and nothing makes them crash."""

from collections import Counter

import pytest
from command_line import cli
from forged import replace_table
from PIL import Image

import wsol_bench
from wsol_bench.report.figures.choice import Choice
from wsol_bench.report.figures.files import write_figures
from wsol_bench.report.figures.images import figure_of_image, images_figure
from wsol_bench.report.figures.layout import best_columns
from wsol_bench.report.page.collection import Collection
from wsol_bench.runs.stored_run import StoredRun


def texts_of(figure):
    return [text.get_text() for text in figure.texts]


def sheet_of(run, **choice):
    return images_figure(Collection([StoredRun(run.folder.path)]), Choice(**choice))


def verdicts(figure):
    """The numbers of captions that begin with each sign."""
    counted = Counter(text[0] for text in texts_of(figure) if text)
    return counted["✓"], counted["✗"]


class TestVerdicts:
    @pytest.mark.parametrize("method", ["cam", "center_gaussian"])
    def test_are_those_of_the_summary(self, run, method):
        figure = sheet_of(run, methods=[method], n=50).figure
        line = run.summary.set_index("method").loc[method]
        hits, misses = verdicts(figure)
        assert (hits + misses) == line["n_images"] == 10
        assert misses / 10 == pytest.approx(line["gt_known_loc_error"])

    def test_of_a_sweep_are_those_at_the_best_threshold(self, swept):
        figure = sheet_of(swept, methods=["cam"], n=50).figure
        line = swept.summary.set_index("method").loc["cam"]
        hits, misses = verdicts(figure)
        assert hits / (hits + misses) == pytest.approx(line["max_box_acc"])
        not_judged = sum(text.endswith(", not judged") for text in texts_of(figure))
        assert not_judged == swept.images["held_out"].sum() > 0

    def test_say_what_the_model_predicts(self, mistaken):
        texts = texts_of(sheet_of(mistaken, n=4).figure)
        assert sum(text.startswith("pred. ✗") for text in texts) == 4
        assert not any(text.startswith("pred. ✓") for text in texts)

    def test_of_pixels_are_none(self, masked):
        figure = sheet_of(masked).figure
        assert verdicts(figure) == (0, 0)
        assert any("scores pixels" in text for text in texts_of(figure))
        assert "not judged" not in texts_of(figure)


class TestSheets:
    def test_state_their_rule_and_what_a_hit_is(self, run):
        text = " ".join(texts_of(sheet_of(run, choose="worst", n=2).figure))
        assert "Images: the 2 of 10 with the lowest mean IoU of the methods shown" in text
        assert "an IoU of at least 0.5" in text
        assert "pixels of at least 15% of the map's maximum" in text

    def test_survive_image_files_that_are_gone(self, run, tmp_path):
        copied = wsol_bench.run(
            {**run.folder.identity.config, "limit": 3, "methods": ["cam", "grad_cam"]},
            out=tmp_path / "run",
        ).folder
        images = copied.read("images")
        replace_table(copied, "images", 0, images.assign(path="/nowhere/image.JPEG"))
        written = write_figures([StoredRun(copied.path)], tmp_path / "figures", formats=["png"])
        assert len(written.without_picture) == written.n_images == 3
        _, err = cli("figures", copied.path, "--format", "png")
        assert "3 of 3 images have no picture; the first: /nowhere/image.JPEG" in err

    @pytest.mark.parametrize("words", ["$\\frac$, two", "bell\x07 and \x1b[2J", "two\nlines", "猫"])
    def test_draw_the_words_of_a_class_as_they_are(self, run, monkeypatch, words, recwarn):
        """Neither as a formula nor as characters that no font has, of which matplotlib warns."""
        read = StoredRun.read

        def changed(self, table, *rest, **options):
            found = read(self, table, *rest, **options)
            return found.assign(words=words) if table == "classes" else found

        monkeypatch.setattr(StoredRun, "read", changed)
        sheet = sheet_of(run, methods=["cam"], n=2)
        texts = texts_of(sheet.figure)
        assert not any(c in text for text in texts for c in "\x07\x1b\n")
        if words.startswith("$"):
            assert "$\\frac$" in texts
        assert not recwarn.list

    def test_hold_one_image_with_all_its_methods(self, run):
        image_id = run.images["image_id"][2]
        figure = figure_of_image(StoredRun(run.folder.path), image_id)
        texts = texts_of(figure)
        assert {"cam", "grad_cam", "center_gaussian", "image"} <= set(texts)
        assert any(text.startswith(f"Image {image_id}: color_net on 10 images") for text in texts)

    @pytest.mark.parametrize(("n", "across"), [(24, 6), (1, 1), (10, 5), (8, 4), (23, 6)])
    def test_of_one_method_are_full(self, n, across):
        assert best_columns(n) == across

    def test_of_several_methods_fit_a_page(self):
        assert best_columns(8, 3) == 2
        assert best_columns(6, 6) == 1


class TestCommand:
    def test_writes_files_and_names_them_last(self, run, tmp_path):
        out, err = cli("figures", run.folder.path, "--out", tmp_path, "--n", 2)
        names = [
            f"{name}.{end}"
            for name in ("images_random", "curves", "bars")
            for end in ("png", "pdf")
        ]
        assert out == ""
        assert err.splitlines()[-6:] == [f"Figure: {tmp_path / name}" for name in names]
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
        for name in names[1::2]:
            content = (tmp_path / name).read_bytes()
            assert content.startswith(b"%PDF")
            assert b"/FontFile2" in content  # TrueType, as publishers ask for
            assert b"/Type3" not in content
        for name in names[::2]:
            with Image.open(tmp_path / name) as picture:
                assert picture.width > 700

    def test_draws_the_same_file_again(self, run, tmp_path):
        for name in ("a", "b"):
            cli("figures", run.folder.path, "--out", tmp_path / name, "--methods", "cam", "--n", 2)
        for file in (tmp_path / "a").iterdir():
            assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name

    def test_of_sweeps_has_curves_over_thresholds(self, swept, masked, tmp_path):
        for name, run in (("swept", swept), ("masked", masked)):
            cli("figures", run.folder.path, "--out", tmp_path / name, "--format", "pdf")
        assert (tmp_path / "swept/curves.pdf").exists()
        assert not (
            tmp_path / "masked/curves.pdf"
        ).exists()  # a curve of pixels is no share of hits

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--methods", "camm"], "did you mean 'cam'"),
            (["--ids", "x", "--choose", "best"], "--ids names the images, so --choose has no"),
            (["--class", "reed"], "did you mean 'red'"),
        ],
    )
    def test_refuses_what_the_run_does_not_have(self, run, tmp_path, arguments, message):
        _, err = cli("figures", run.folder.path, "--out", tmp_path, *arguments, code=1)
        assert message in err

    @pytest.mark.parametrize("arguments", [["--methods", "camm"], ["--class", "reed"]])
    def test_leaves_no_empty_folder_behind_an_error(self, run, tmp_path, arguments):
        cli("figures", run.folder.path, "--out", tmp_path / "a/b", *arguments, code=1)
        assert not list(tmp_path.iterdir())

    def test_refuses_a_seed_that_no_generator_takes(self, run, tmp_path):
        _, err = cli("figures", run.folder.path, "--out", tmp_path, "--seed", -1, code=2)
        assert "'--seed': expected at least 0, found '-1'" in err

    def test_of_several_runs_needs_a_folder(self, run, swept):
        _, err = cli("figures", run.folder.path, swept.folder.path, code=1)
        assert "add --out figures" in err
