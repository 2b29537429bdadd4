"""Decoding processes: the same batches from any number, and what becomes of one that dies."""

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import colors
import pytest
import torch
from colors import SCENES, color_experiment, write_colors
from timeless import assert_same_tables

import wsol_bench
from wsol_bench.datasets import datasets
from wsol_bench.errors import WorkerError
from wsol_bench.images.decode import load_image
from wsol_bench.images.loading import decoded
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.engines.local import LocalEngine
from wsol_bench.runs.folder import RunFolder

BATCHES = [[0, 1, 2], [3], [4, 0], [2, 1]]


pytestmark = pytest.mark.timeout(100)  # nothing here may hang


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Five images: the second is truncated, of the fourth there is no file."""
    scenes = (*SCENES, ((300, 200), 1, [(0, 0, 20, 30)]))
    root = write_colors(tmp_path_factory.mktemp("colors"), scenes=scenes)
    loaded = datasets.get("imagenet")(root=root)
    paths = loaded.images["path"].tolist()
    Path(paths[1]).write_bytes(Path(paths[1]).read_bytes()[:-40])
    paths[3] = ""
    return replace(loaded, images=loaded.images.assign(path=paths))


@pytest.fixture(scope="module")
def section():
    return load_protocol("gradcam-2017").input


@pytest.fixture(scope="module")
def keeping_shapes():
    return load_protocol("gradcam-2017", {"input": {"geometry": "shorter_side"}}).input


class TestDecoded:
    def test_batches_are_in_order_and_the_same_from_any_number_of_processes(
        self, dataset, keeping_shapes
    ):
        one_process = list(decoded(dataset, BATCHES, keeping_shapes, workers=0))
        two_processes = list(decoded(dataset, BATCHES, keeping_shapes, workers=2))
        assert len(one_process) == len(two_processes) == len(BATCHES)
        for indices, batch, other in zip(BATCHES, one_process, two_processes, strict=True):
            assert batch.unreadable == other.unreadable
            assert len(batch.groups) == len(other.groups)
            for first, second in zip(batch.groups, other.groups, strict=True):
                assert first.indices == second.indices
                assert first.placements == second.placements
                assert torch.equal(first.pixels, second.pixels)
            decoded_indices = [i for group in batch.groups for i in group.indices]
            assert sorted(decoded_indices + [i for i, _ in batch.unreadable]) == sorted(indices)

    def test_inputs_of_one_size_are_one_group(self, dataset, section, keeping_shapes):
        """Of 224 x 224, 112 x 448 and 300 x 200: squashed all alike, else each of its own."""

        def shapes(section):
            [batch] = decoded(dataset, [[0, 2, 4]], section, workers=0)
            return [tuple(group.pixels.shape) for group in batch.groups]

        assert shapes(section) == [(3, 3, 224, 224)]
        assert shapes(keeping_shapes) == [(1, 3, 224, 224), (1, 3, 224, 896), (1, 3, 336, 224)]

    @pytest.mark.parametrize("workers", [0, 2])
    def test_an_image_that_cannot_be_decoded_is_reported_and_leaves_the_others(
        self, dataset, section, workers
    ):
        [batch, other] = decoded(dataset, [[0, 1, 3], [2]], section, workers=workers)
        (first, truncated), (second, missing) = batch.unreadable
        assert (first, second) == (1, 3)
        assert "cannot be decoded" in truncated
        assert dataset.images["path"].iloc[1] in truncated
        assert "no pixels" in missing
        assert [group.indices for group in batch.groups] == [[0]]
        assert batch.groups[0].pixels[0, 0, 80, 100] == 255  # within the red rectangle
        assert not other.unreadable

    @pytest.mark.parametrize("workers", [0, 2])
    def test_no_batches_give_no_batch(self, dataset, section, workers):
        assert list(decoded(dataset, [], section, workers=workers)) == []

    def test_decoding_draws_no_random_numbers_of_the_caller(self, dataset, section):
        before = torch.get_rng_state()
        list(decoded(dataset, BATCHES, section, workers=2))
        assert torch.equal(torch.get_rng_state(), before)

    def test_a_death_is_an_error_and_no_process_is_left(self, dataset, section, monkeypatch):
        monkeypatch.setattr("wsol_bench.images.loading.load_image", kill_myself)
        with pytest.raises(WorkerError, match="a process that decodes images died"):
            list(decoded(dataset, BATCHES, section, workers=2))
        wait_until(lambda: not multiprocessing.active_children())

    def test_a_process_that_hangs_is_an_error_and_is_not_left(self, dataset, section, monkeypatch):
        monkeypatch.setattr(
            "wsol_bench.images.loading.load_image", lambda path, n_channels: time.sleep(3600)
        )
        monkeypatch.setattr("wsol_bench.images.loading._TIMEOUT_S", 1)
        with pytest.raises(WorkerError, match="no image was decoded for 1 seconds"):
            list(decoded(dataset, BATCHES, section, workers=2))
        wait_until(lambda: not multiprocessing.active_children())


def kill_myself(path, n_channels):
    os.kill(os.getpid(), signal.SIGKILL)


def wait_until(condition):
    while not condition():  # not for ever: see deadline
        time.sleep(0.01)


# Twelve images, six parts; the third and the fourth image of every four are a part.
PART = {"part_size": 2, "batch_size": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_colors(tmp_path_factory.mktemp("twelve"), scenes=SCENES * 3)


@pytest.fixture(scope="module")
def sound(root):
    return wsol_bench.run(color_experiment(root, **PART, workers=0))


def assert_same(results, sound):
    assert_same_tables(results, sound, ("images", "rows", "maps"))


def kill_a_decoder():
    """One of this process's; returns when whatever that leads to here has had its time."""
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    time.sleep(0.3)


@pytest.mark.slow
class TestARun:
    def test_a_run_has_the_same_tables_with_any_number_of_decoders(self, root, sound):
        assert_same(wsol_bench.run(color_experiment(root, **PART, workers=2)), sound)

    @pytest.mark.parametrize("image", [1, 12])
    def test_a_run_whose_decoder_is_killed_once_has_the_same_tables(
        self, root, sound, image, tmp_path, monkeypatch
    ):
        killed = tmp_path / "killed"

        def kill_myself_once(path, n_channels):
            if path.stem.endswith(f"{image:08d}") and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return load_image(path)

        monkeypatch.setattr("wsol_bench.images.loading.load_image", kill_myself_once)
        results = wsol_bench.run(color_experiment(root, **PART, workers=2))
        assert killed.exists()
        assert_same(results, sound)

    def test_a_run_whose_decoder_is_killed_during_a_pass_has_the_same_tables(
        self, root, sound, tmp_path, monkeypatch
    ):
        """Wherever in the run it dies."""
        killed = tmp_path / "killed"

        def kill_once(module, inputs):
            if multiprocessing.active_children() and not killed.exists():
                killed.touch()
                kill_a_decoder()

        def deadly_net(num_classes=3):
            net = colors.color_net(num_classes)
            net.register_forward_pre_hook(kill_once)
            return net

        monkeypatch.setattr(colors, "deadly_net", deadly_net, raising=False)
        experiment = color_experiment(root, **PART, workers=2)
        experiment["models"][0]["name"] = "colors:deadly_net"
        results = wsol_bench.run(experiment)
        assert killed.exists()
        assert_same(results, sound)

    def test_a_run_whose_decoder_is_killed_while_a_part_is_written_has_the_same_tables(
        self, root, sound
    ):
        class Killing(LocalEngine):
            killed = False

            def evaluate(self, experiment, parts, advance):
                for part, tables in super().evaluate(experiment, parts, advance):
                    if multiprocessing.active_children() and not self.killed:
                        self.killed = True
                        kill_a_decoder()
                    yield part, tables

        engine = Killing()
        results = wsol_bench.run(color_experiment(root, **PART, workers=2), engine=engine)
        assert engine.killed
        assert_same(results, sound)

    @pytest.mark.parametrize("part", [0, 2])
    def test_a_run_ends_after_three_deaths_at_one_image_and_names_the_part(
        self, root, sound, part, tmp_path, monkeypatch
    ):
        """The parts before it are kept, also where their images were decoded at the same time."""
        log = tmp_path / "log"
        images = sound.images["image_id"]
        deadly = images[2 * part + 1]

        def kill_myself_always(path, n_channels):
            if path.stem == deadly:
                with log.open("a") as file:
                    file.write("x")
                os.kill(os.getpid(), signal.SIGKILL)
            return load_image(path)

        monkeypatch.setattr("wsol_bench.images.loading.load_image", kill_myself_always)
        named = rf"3 times in the part of .*{images[2 * part]}\b"
        with pytest.raises(WorkerError, match=named):
            wsol_bench.run(color_experiment(root, **PART, workers=2), out=tmp_path / "run")
        assert set(RunFolder(tmp_path / "run").parts()) >= set(range(part))
        assert log.read_text() == "x" + "xxx"  # once among others, which blames nobody
        monkeypatch.undo()
        again = wsol_bench.run(color_experiment(root, **PART, workers=2), out=tmp_path / "run")
        assert again.n_before >= part
        assert_same(again, sound)
