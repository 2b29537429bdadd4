"""The leaderboard of runs that are ranked by hand, among runs that cannot be."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from command_line import cli
from counted_hits import N_IMAGES, counted_run
from counted_hits import experiment as counted_experiment

import wsol_bench
from wsol_bench.errors import ConfigError, RunError
from wsol_bench.report.analysis import analyze
from wsol_bench.report.leaderboard import leaderboard
from wsol_bench.report.leaderboard_tables import for_a_screen, tables_of
from wsol_bench.report.written_tables import written
from wsol_bench.runs.manifest import read_manifest, write_manifest
from wsol_bench.runs.merge import merge
from wsol_bench.runs.rescore import rescore
from wsol_bench.runs.stored_run import StoredRun

PAPER = {
    "source": "arXiv:0000.00001, Table 1", "status": "quoted", "unit": "percent",
    "rows": [{"model": "-", "method": "six", "numbers": {"top1_loc_error": 1}}],
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two runs on the same eight images, one on four of them; do not write there."""
    folder = tmp_path_factory.mktemp("results")
    counted_run(folder, folder / "a/first", {"three": 3, "six": 6, "also six": 6}, published=PAPER)
    counted_run(folder, folder / "b/second", {"five": 5, "three": 3, "none": 0})
    counted_run(folder, folder / "b/limited", {"best": 8, "worst": 0}, limit=4)
    return folder


@pytest.fixture
def copied(results, tmp_path):
    """A copy of the first run, to be damaged."""
    return Path(shutil.copytree(results / "a/first", tmp_path / "runs/first"))


def ranks(ranking):
    return [(place.rank, place.line.method) for place in ranking.places]


def reasons(board, name):
    """Why the run in a folder of this name is left out."""
    return [reason for reason in board.left_out if name in reason]


class TestRanks:
    def test_are_within_the_same_images_and_ties_share_one(self, results):
        board = leaderboard([results])
        assert [one.of.n_images for one in board.rankings] == [8, 4]
        assert ranks(board.rankings[0]) == [
            (1, "also six"),
            (1, "six"),
            (3, "five"),
            (4, "three"),
            (4, "three"),
            (6, "none"),
            (None, "full_image"),
            (None, "full_image"),
        ]
        assert ranks(board.rankings[1]) == [(1, "best"), (2, "worst"), (None, "full_image")]
        assert board.left_out == ()

    def test_each_line_has_its_run_and_numbers(self, results):
        places = leaderboard([results]).rankings[0].places
        by_name = {place.line.method: place.line for place in places}
        for name, n_hits in (("six", 6), ("five", 5), ("none", 0)):
            for number in ("top1_loc_error", "gt_known_loc_error"):
                assert by_name[name].numbers[number].value.value == 1 - n_hits / N_IMAGES
        assert by_name["five"].run.path == results / "b/second"
        assert by_name["six"].run.path == results / "a/first"

    def test_the_interval_is_that_of_the_analysis(self, results):
        table = analyze([StoredRun(results / "a/first")])["intervals"]
        expected = table[table["number"] == "top1_loc_error"].set_index("method")
        for place in leaderboard([results / "a"]).rankings[0].places[:3]:
            value = place.line.numbers["top1_loc_error"].value
            low, high = expected.loc[place.line.method, ["low", "high"]]
            assert (value.low, value.high) == (low, high)

    def test_another_number_may_be_chosen(self, results, tmp_path):
        counted_run(tmp_path, tmp_path / "run", {"x": 1}, metrics=["mean_iou"])
        board = leaderboard([results / "a", tmp_path], number="mean_iou")
        [ranking] = board.rankings
        assert ranking.main == "mean_iou"
        # The box of the whole image has an IoU of 0.25, those of x one of 1 in an eighth of them.
        assert ranks(ranking)[:3] == [(None, "full_image"), (1, "x"), (None, "three")]
        with pytest.raises(ConfigError, match=r"--number: .*'mean_io'.*did you mean 'mean_iou'"):
            leaderboard([tmp_path], number="mean_io")

    def test_higher_is_better_where_it_is(self, run, swept, masked, tmp_path):
        for name, one in (("one", run), ("swept", swept), ("masked", masked)):
            shutil.copytree(
                one.folder.path, tmp_path / name, ignore=shutil.ignore_patterns("resc*")
            )
        by_number = {ranking.main: ranking for ranking in leaderboard([tmp_path]).rankings}
        assert set(by_number) == {"top1_loc_error", "max_box_acc_v2", "px_ap"}
        for name, ranking in by_number.items():
            values = [
                place.line.numbers[name].value.value for place in ranking.places if place.rank
            ]
            assert values == sorted(values, reverse=name != "top1_loc_error")
            kinds = {place.line.kind for place in ranking.places if place.rank is None}
            assert kinds <= {"baseline"}

    def test_networks_that_were_evaluated_on_other_images_are_not_compared(
        self, experiment, tmp_path
    ):
        """Of three networks one fails on the three blue images, one on the three green ones."""
        [model] = experiment["models"]
        models = [model]
        for color in ("blue", "green"):
            models.append({**model, "name": f"colors:net_without_{color}", "label": color})
        content = {**experiment, "models": models, "methods": ["cam"], "faithfulness": None}
        run = wsol_bench.run(content, out=tmp_path / "run")
        assert run.summary["n_images"].tolist() == [10, 7, 7]
        rankings = leaderboard([tmp_path]).rankings
        found = [(one.of.n_images, one.places[0].line.model, ranks(one)) for one in rankings]
        assert found[0] == (10, "color_net", [(1, "cam")])
        assert sorted(found[1:]) == [(7, "blue", [(1, "cam")]), (7, "green", [(1, "cam")])]
        assert len({one.of.fingerprint for one in rankings}) == 1


class TestRunsThatAreLeftOut:
    def test_a_copy_counts_once(self, results, copied):
        board = leaderboard([results / "a", copied.parent])
        assert len(board.rankings[0].places) == 4
        assert reasons(board, str(copied)) == [
            f"{copied}: the same run as {results / 'a/first'}, which is counted once"
        ]

    def test_a_run_below_two_folders_counts_once_and_nothing_is_said(self, results):
        board = leaderboard([results / "a", results / "a/first", results / "b/../a"])
        assert len(board.rankings[0].places) == 4
        assert board.left_out == ()

    def test_links_are_followed_once_and_loops_end(self, results, copied):
        """The path is the run's own if that is below a folder, else that of a link."""
        folder = copied.parent
        (folder / "1 to itself").symlink_to(folder, target_is_directory=True)
        (folder / "2 to the run").symlink_to(copied, target_is_directory=True)
        (folder / "to others").symlink_to(results / "b", target_is_directory=True)
        (folder / "to nothing").symlink_to(folder / "none")
        board = leaderboard([folder])
        paths = {place.line.run.path for one in board.rankings for place in one.places}
        assert paths == {copied, *(folder / "to others" / name for name in ("second", "limited"))}
        assert board.left_out == ()

    def test_a_longer_run_that_is_being_made_within_a_run_is_none(self, copied):
        shutil.copytree(copied, copied / ".extended")
        board = leaderboard([copied.parent])
        assert {place.line.run.path for place in board.rankings[0].places} == {copied}
        assert board.left_out == ()

    def test_a_sound_copy_stands_in_for_a_damaged_one(self, copied):
        shutil.copytree(copied, copied.parent / "second")
        next((copied / "rows").iterdir()).write_bytes(b"damaged")
        board = leaderboard([copied.parent])
        assert {place.line.run.path.name for place in board.rankings[0].places} == {"second"}
        assert len(reasons(board, str(copied))) == 1

    @pytest.mark.parametrize(
        "damage",
        [
            lambda path: (path / "manifest.json").write_text("{}"),
            lambda path: (path / "manifest.json").write_bytes(b"\xff\x00{"),
            lambda path: (path / "manifest.json").write_text('{"name": "a web app"}'),
            lambda path: (path / "manifest.json").write_text("[" * 100_000),
            lambda path: edit(path, format=2),
            lambda path: edit(path, id="another"),
            lambda path: (path / "checksums.sha256").unlink(),
            lambda path: next((path / "rows").iterdir()).unlink(),
            lambda path: next((path / "images").iterdir()).write_bytes(b"damaged"),
            lambda path: (path / "config.yaml").write_text("published: 3"),
            lambda path: write_manifest(
                path, read_manifest(path).model_copy(update={"finished": None})
            ),
        ],
    )
    def test_is_one_line_whatever_is_wrong(self, results, copied, damage):
        damage(copied)
        board = leaderboard([copied.parent, results / "b"])
        assert [len(ranking.places) for ranking in board.rankings] == [4, 3]
        [reason] = board.left_out
        assert str(copied) in reason
        assert "\n" not in reason

    def test_a_shard_is_told_apart_and_its_merged_run_counts(self, tmp_path):
        content = counted_experiment(tmp_path, {"six": 6}, part_size=4)
        shards = [
            wsol_bench.run(content, out=tmp_path / f"runs/{number}", shard=f"{number}/2").folder
            for number in (1, 2)
        ]
        with pytest.raises(RunError, match=r"found 2 that are left out:\n.*This is shard 1/2"):
            leaderboard([tmp_path])
        merge(shards, tmp_path / "runs/whole")
        board = leaderboard([tmp_path])
        assert ranks(board.rankings[0]) == [(1, "six"), (None, "full_image")]
        assert len(board.left_out) == 2
        assert all("merge" in reason for reason in board.left_out)

    def test_a_rescored_run_is_found_in_its_run_and_ranked_by_its_protocol(self, copied):
        rescore(StoredRun(copied), "zhou-2016")
        rankings = leaderboard([copied.parent]).rankings
        assert [one.of.protocol for one in rankings] == ["gradcam-2017", "zhou-2016"]
        assert rankings[1].places[0].line.run.path == copied / "rescored/zhou-2016"
        assert rankings[0].published
        assert not rankings[1].published

    def test_folders_without_runs_are_an_error(self, tmp_path):
        with pytest.raises(
            RunError, match=r"expected runs in the folder or below it, found none\. A run is"
        ):
            leaderboard([tmp_path])
        with pytest.raises(ConfigError, match="no such folder"):
            leaderboard([tmp_path / "none"])


def edit(path, **changes):
    """Change a manifest, so that its checksum no longer fits."""
    file = path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


class TestTables:
    def test_published_numbers_are_below_and_have_no_rank(self, results):
        [ranking, published, _] = tables_of(leaderboard([results]))
        assert all("arXiv" not in str(line.cells) for _, line in ranking.lines())
        [(_, line)] = published.lines()
        assert line.cells[:2] == ("-", "six")
        assert line.cells[2].text == "1.00"
        assert line.cells[3] == "arXiv:0000.00001, Table 1 (quoted)"
        assert published.title.startswith("Published numbers")

    def test_the_heading_says_what_the_numbers_are_of(self, results):
        table, *_ = tables_of(leaderboard([results]))
        identity = StoredRun(results / "a/first").identity
        text = " ".join([table.title, *table.notes])
        for fact in (
            *("table", identity.dataset.fingerprint, "8 images"),
            *("gradcam-2017", identity.protocol_hash, "top-1 loc error"),
        ):
            assert fact in text

    def test_csv_has_every_line_of_every_ranking(self, results):
        text = written(tables_of(leaderboard([results])), "csv")
        lines = list(csv.DictReader(io.StringIO(text)))
        found = [(line["rank"], line["method"], line["images"]) for line in lines]
        assert found[:3] == [("1", "also six", "8"), ("1", "six", "8"), ("3", "five", "8")]
        assert [line["kind"] for line in lines].count("published") == 1
        assert {line["run"] for line in lines if line["method"] == "best"} == {
            str(results / "b/limited")
        }
        assert lines[2]["top1_loc_error (%)"] == "37.50"

    def test_a_column_or_a_comment_names_the_run(self, results):
        board = leaderboard([results / "a"])
        for in_comments in (False, True):
            table = tables_of(board, runs_in_comments=in_comments)[0]
            _, line = next(table.lines())
            assert (str(results / "a/first") in line.cells) != in_comments
            assert (str(results / "a/first") in line.source) == in_comments


class TestCommands:
    def test_leaderboard_prints_ranks_and_writes_the_page(self, results, copied, tmp_path):
        (copied / "manifest.json").write_text("{}")
        out, err = cli("leaderboard", results, tmp_path, "--page", tmp_path / "board.html")
        assert "also six" in out
        assert "Published numbers" in out
        assert err.count("Left out:") == 1
        page = (tmp_path / "board.html").read_text()
        assert page.count("<section") == 3
        assert str(copied) in page

    def test_leaderboard_shows_the_first_lines_of_a_long_ranking(self, tmp_path):
        methods = {f"number {n}": n % 9 for n in range(40)}
        counted_run(tmp_path, tmp_path / "run", methods)
        short, _ = cli("leaderboard", tmp_path)
        full, _ = cli("leaderboard", tmp_path, "--all")
        as_csv, _ = cli("leaderboard", tmp_path, "--format", "csv")
        for text, n in ((short, 30), (full, 41), (as_csv, 41)):
            assert text.count("number ") + text.count("full_image") == n
        assert "and 11 more: --all, or --format csv" in short
        assert "more: --all" not in full

    def test_the_number_that_ranks_is_among_the_first_columns_of_a_screen(self, results):
        ranking, published, _ = tables_of(leaderboard([results]))
        assert list(for_a_screen(ranking))[:4] == [
            *("rank", "method", "top-1 loc error (%) ↓", "model")
        ]
        assert next(iter(for_a_screen(published))) == "method"
        texts = for_a_screen(ranking).iloc[0].tolist()
        assert texts[:2] == ["1", "also six"]
        assert texts[2].startswith("25.00 [")

    @pytest.mark.parametrize("form", ["csv", "markdown", "latex"])
    def test_leaderboard_prints_a_format_alone(self, results, form):
        out, _ = cli("leaderboard", results, "--format", form)
        start = {"csv": "rank,", "markdown": "### ", "latex": "% Needs"}[form]
        assert out.startswith(start)

    @pytest.mark.parametrize("form", ["csv", "markdown", "latex"])
    def test_table_is_printed_or_written(self, results, tmp_path, form):
        arguments = ("table", results / "a/first", "--format", form, "--intervals")
        printed, _ = cli(*arguments, "--numbers", "gt_known_loc_error, top1_loc_error")
        out, err = cli(
            *arguments,
            *("--numbers", "gt_known_loc_error,top1_loc_error", "--out", tmp_path / "x/t"),
        )
        assert (tmp_path / "x/t").read_text() == printed
        assert (out, err.splitlines()[-1]) == ("", f"Table: {tmp_path / 'x/t'}")

    def test_a_file_that_cannot_be_written_is_told_before_the_work(self, tmp_path):
        (tmp_path / "manifest.json").touch()
        for arguments in (("table", tmp_path, "--out"), ("leaderboard", tmp_path, "--page")):
            _, err = cli(*arguments, tmp_path, code=1)
            assert "found a folder" in err
