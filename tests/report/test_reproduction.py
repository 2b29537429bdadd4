"""A paper's table beside counted hits: differences and intervals that are known by hand."""

import csv
import io
import re

import pytest
from annotations_only import without_model, write_annotations_only
from colors import color_experiment, write_colors
from command_line import cli
from counted_hits import experiment
from scipy.stats import norm

import wsol_bench
from wsol_bench.papers.published import Published
from wsol_bench.report.reproduction import causes_of, not_run, reproduction_table
from wsol_bench.report.written_tables import text_table, written
from wsol_bench.runs.experiment_config import load_config
from wsol_bench.runs.reproduction import Missing, Reproduction, reproduce
from wsol_bench.runs.rescore import rescore

# Of eight images, three and six boxes are hits: errors of 62.5% and 25%.
HITS = {"three": 3, "six": 6}


def row(method, **numbers):
    return {"model": "-", "method": method, "numbers": numbers}


PUBLISHED = {
    "title": "A paper, Table 1",
    "source": "a paper, Table 1",
    "unit": "percent",
    "n_images": 50000,
    "leaves_open": ["The crop."],
    "causes": [
        {"name": "weights", "says": "They are others."},
        {"name": "blacklist", "says": "The paper does not say."},
        {"name": "hair", "says": "It was long."},
    ],
    "rows": [
        row("six", gt_known_loc_error=20),
        row("three", gt_known_loc_error=30) | {"status": "memory"},
        row("three", top1_loc_error=62.5) | {"source": "another paper", "status": "quoted"},
        row("nine", gt_known_loc_error=5) | {"needs": "nine eyes."},
    ],
}


@pytest.fixture(scope="module")
def reproduction(tmp_path_factory):
    folder = tmp_path_factory.mktemp("counted")
    config = load_config(experiment(folder, HITS, published=PUBLISHED))
    return reproduce(config, folder / "out", weights=folder)


def lines_of(reproduction):
    text = written([reproduction_table(reproduction)], "csv")
    return list(csv.DictReader(io.StringIO(text)))


def wilson(hits, n):
    """Wilson's 95% interval of a share, in percent."""
    z = norm.ppf(0.975)
    share = hits / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return 100 * (center - half), 100 * (center + half)


class TestTable:
    def test_has_the_rows_of_the_paper_in_its_order(self, reproduction):
        shown = [(line["method"], line["number"]) for line in lines_of(reproduction)]
        assert shown == [
            ("six", "GT-known loc error"),
            ("three", "GT-known loc error"),
            ("three", "top-1 loc error"),
        ]

    def test_has_differences_and_whether_the_paper_is_in_the_interval(self, reproduction):
        six, three, ranked = lines_of(reproduction)
        assert (six["published"], six["here"], six["difference"]) == ("20.00", "25.00", "+5.00")
        low, high = wilson(2, 8)
        assert float(six["here low"]) == pytest.approx(low, abs=0.006)
        assert float(six["here high"]) == pytest.approx(high, abs=0.006)
        assert low <= 20 <= high and six["paper in interval"] == "yes"
        assert three["difference"] == "+32.50"
        assert wilson(5, 8)[0] > 30 and three["paper in interval"] == "no"
        assert ranked["difference"] == "+0.00"

    def test_says_how_sure_a_number_of_the_paper_is(self, reproduction):
        six, three, ranked = lines_of(reproduction)
        assert (six["paper"], three["paper"], ranked["paper"]) == ("20.00", "30.00 m", "62.50 q")
        assert ranked["source"] == "another paper"
        notes = " ".join(reproduction_table(reproduction).notes)
        assert "m: the number is written down from memory" in notes
        assert "q: the number is quoted" in notes

    def test_shows_a_number_that_a_run_does_not_give_as_none(self, reproduction, tmp_path):
        rows = [row("six", mean_iou=3)]
        config = load_config(experiment(tmp_path, HITS, published={**PUBLISHED, "rows": rows}))
        other = Reproduction(config, reproduction.runs, ())
        [line] = lines_of(other)
        assert (line["here"], line["difference"], line["paper in interval"]) == ("none", "-", "-")

    def test_without_published_numbers_has_no_column_for_them(self, reproduction):
        config = reproduction.experiment.model_copy(update={"published": None})
        table = text_table(reproduction_table(Reproduction(config, reproduction.runs, ())))
        assert list(table) == ["network", "method", "number", "here [95% interval]"]
        assert {"six", "three", "full_image"} <= {*table["method"]}

    def test_has_the_numbers_of_a_network_that_the_paper_has_not(self, reproduction):
        rows = [{**row("six", gt_known_loc_error=20), "model": "a network of the paper"}]
        published = Published.model_validate({**PUBLISHED, "rows": rows})
        config = reproduction.experiment.model_copy(update={"published": published})
        lines = lines_of(Reproduction(config, reproduction.runs, ()))
        [six] = [
            line
            for line in lines
            if (line["method"], line["number"]) == ("six", "GT-known loc error")
        ]
        assert (six["paper"], six["here"], six["difference"]) == ("-", "25.00", "-")
        assert float(six["here low"]) == pytest.approx(wilson(2, 8)[0], abs=0.006)

    def test_says_the_layer_of_a_method_at_several_layers(self, tmp_path):
        root = write_colors(tmp_path / "colors")
        [model] = color_experiment(root)["models"]
        model = {**model, "layer": None, "head": None, "layers": ["cells", "pool"]}
        published = {**PUBLISHED, "rows": [row("grad_cam", top1_loc_error=50)]}
        published["rows"][0]["model"] = "color_net"
        config = load_config(
            color_experiment(
                root, models=[model], methods=["grad_cam"], workers=0, published=published
            )
        )
        done = reproduce(config, tmp_path / "out", weights=tmp_path)
        assert text_table(reproduction_table(done))["method"].tolist() == [
            "grad_cam, cells",
            "grad_cam, pool",
        ]

    def test_latex_has_the_interval(self, reproduction):
        text = written([reproduction_table(reproduction)], "latex")
        assert re.search(r"six & GT-known loc error & 20\.00 & 25\.00 & .*\[7\.15, 59\.07\]", text)


class TestWhatIsMissing:
    def test_is_said_for_networks_and_rows(self, reproduction):
        missing = (Missing("net", "net: the weights are gone"),)
        other = Reproduction(reproduction.experiment, reproduction.runs, missing)
        assert not_run(other) == [
            "net: the weights are gone",
            "What is missing can be added later: give the same command again.",
            "- nine: needs nine eyes.",
        ]

    def test_is_said_for_rows_that_the_experiment_does_not_give(self, reproduction):
        rows = [row("six", gt_known_loc_error=20), row("sixx", gt_known_loc_error=20)]
        rows.append({**rows[0], "model": "gone"})
        published = Published.model_validate({**PUBLISHED, "rows": rows})
        config = reproduction.experiment.model_copy(update={"published": published})
        missing = (Missing("gone", "gone: the weights are missing"),)
        assert not_run(Reproduction(config, reproduction.runs, missing)) == [
            "gone: the weights are missing",
            "What is missing can be added later: give the same command again.",
            "-, sixx: the experiment has no such network and method.",
        ]


class TestCauses:
    def test_are_named_with_what_is_so_here(self, reproduction):
        assert causes_of(reproduction) == [
            "images: The paper evaluated 50,000 images; here are 8.",
            "weights: They are others.",
            "blacklist: The paper does not say. Here: the data holds no blacklist, and no image is "
            "left out.",
            "hair: It was long.",
            "not stated by the paper: The crop.",
        ]


def test_the_command_prints_and_writes_it(tmp_path):
    content = experiment(tmp_path, HITS, published=PUBLISHED)
    file = tmp_path / "counted.yaml"
    import yaml

    file.write_text(yaml.safe_dump(content))
    command = ("reproduce", file, "--out", tmp_path / "out", "--vary", "--limit", 6)
    out, _ = cli(*command)
    assert re.search(r"six +GT-known loc error +20.00 +0.00 \[", out)
    assert "Not run:\n- - nine: needs nine eyes." in out
    assert "images: The paper evaluated 50,000 images; here are 6." in out
    assert {"reproduction.md", "reproduction.csv", "reproduction.tex", "sensitivity.csv"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    again, _ = cli(*command)
    assert again == out


def test_latex_has_one_line_of_titles_without_units(reproduction):
    text = written([reproduction_table(reproduction)], "latex")
    head = text.partition("\\toprule\n")[2].partition("\\midrule")[0]
    assert head.count("\\\\") == 1


class TestWhatIsSoHere:
    """The second half of a cause: facts of the runs."""

    def here(self, name, *runs):
        content = {**PUBLISHED, "leaves_open": [], "causes": [{"name": name, "says": "Others."}]}
        del content["n_images"]
        config = load_config({**runs[0].identity.config, "published": content})
        [text] = causes_of(Reproduction(config, runs, ()))
        return text.removeprefix(f"{name}: Others.").strip()

    def test_weights_are_named_with_their_digest(self, run):
        [facts] = run.folder.identity.models.values()
        assert self.here("weights", run.folder) == (
            f"Here: color_net DEFAULT (digest {facts.weights})."
        )

    def test_the_blacklist_is_counted(self, tmp_path):
        content = without_model(write_annotations_only(tmp_path / "root"), "center_box")
        stored = wsol_bench.run(content, out=tmp_path / "run").folder
        assert self.here("blacklist", stored) == "Here: blacklisted images that are left out: 1."

    def test_an_oracle_is_called_so_and_a_selected_threshold_stands_beside_it(
        self, swept, run, tmp_path
    ):
        assert "chosen on 0.4" in self.here("thresholds", swept.folder)
        oracle = rescore(run.folder, "wsol-2018-squash", out=tmp_path / "oracle").folder
        assert "it is an oracle, too" in self.here("thresholds", oracle)
