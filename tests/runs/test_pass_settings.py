"""The settings that ``auto`` chooses for a machine, which belong to no run's identity."""

import socket
from dataclasses import replace

import pytest
import torch
from four_parts import assert_same, experiment, stopped_after
from networks import network, small_vit
from torch import nn

import wsol_bench
from wsol_bench.errors import RunError
from wsol_bench.runs import pass_settings
from wsol_bench.runs.engines import local
from wsol_bench.runs.engines.local import LocalEngine
from wsol_bench.runs.experiment import Experiment
from wsol_bench.runs.experiment_config import load_config
from wsol_bench.runs.facts import PassSettings
from wsol_bench.runs.manifest import read_manifest
from wsol_bench.runs.merge import merge
from wsol_bench.runs.pass_settings import (
    Machine,
    Needs,
    described,
    is_convolutional,
    settings_for,
)

GIB, MIB = 2**30, 2**20
PIXELS = 3 * 224**2
AUTO = {"batch_size": "auto", "workers": "auto", "channels_last": "auto", "part_size": None}
CPU = torch.device("cpu")


def config_of(**changes):
    return load_config(
        {
            "name": "auto",
            "dataset": "shapes",
            "models": ["shapes_net"],
            "methods": ["cam"],
            "protocol": "gradcam-2017",
            **changes,
        }
    )


def chosen(machine, *, each=100 * MIB, most=128, convolutional=True, **changes):
    needs = Needs(convolutional, PIXELS, lambda: each, most)
    return settings_for(config_of(**changes), machine, needs)


def no_probe():
    pytest.fail("a CPU needs no pass that measures memory")


class TestTheRule:
    @pytest.mark.parametrize(
        ("cores", "batch_size", "workers"),
        [(1, 4, 0), (2, 4, 0), (4, 8, 1), (8, 16, 2), (16, 32, 4), (96, 32, 16)],
    )
    def test_a_cpu_with_few_cores_gets_small_batches_and_no_processes(
        self, cores, batch_size, workers
    ):
        needs = Needs(is_convolutional=True, input_bytes=PIXELS, gpu_bytes=no_probe, most=128)
        found = settings_for(config_of(), Machine(cores, 64 * GIB), needs)
        assert found == PassSettings(
            batch_size=batch_size, workers=workers, channels_last=True, at_once=batch_size
        )

    @pytest.mark.parametrize(
        ("free", "each", "expected"),
        [
            (140 * GIB, 100 * MIB, 128),
            (6 * GIB, 100 * MIB, 16),  # 30 images are half of the memory
            (4 * GIB, 1 * GIB, 2),
            (1 * GIB, 1 * GIB, 1),
            (GIB, 64 * GIB, 1),
            (GIB, 0, 128),
            (6 * GIB, None, 16),
        ],
    )
    def test_a_gpu_gets_a_batch_that_takes_half_of_its_free_memory(self, free, each, expected):
        found = chosen(Machine(8, None, free), each=each)
        assert found.batch_size == found.at_once == expected
        assert found.workers == 7

    @pytest.mark.parametrize("most", [1, 3, 100, 128])
    def test_a_batch_divides_a_part_by_powers_of_two(self, most):
        found = chosen(Machine(16, None, 140 * GIB), most=most).batch_size
        assert found <= most
        assert found & (found - 1) == 0

    @pytest.mark.parametrize("shared", [GIB, 64 * MIB, 8 * MIB, 0])
    def test_batches_on_their_way_fit_the_shared_memory_of_a_container(self, shared):
        found = chosen(Machine(8, shared, 140 * GIB))
        on_their_way = (3 * found.workers + 1) * found.batch_size * PIXELS
        assert on_their_way <= shared / 2 or (found.batch_size, found.workers) == (16, 1)
        assert found.workers >= 1

    def test_what_the_experiment_sets_is_kept(self):
        small = Machine(2, 0, 1 * MIB)
        found = chosen(small, batch_size=40, workers=3, channels_last=False)
        assert found == PassSettings(batch_size=40, workers=3, channels_last=False, at_once=40)

    def test_channels_last_is_for_networks_of_convolutions(self):
        assert is_convolutional(network("MobileNetV2"))
        assert is_convolutional(network("ConvNeXt"))
        assert not is_convolutional(small_vit())  # whose one convolution makes patches
        assert not chosen(Machine(2), convolutional=False).channels_last


class TestTheGpu:
    """There is no GPU here: functions of torch are replaced by fakes."""

    @pytest.fixture
    def memory(self, monkeypatch):
        """The bytes that are allocated, and the most that were."""
        state = {"allocated": 50 * MIB, "peak": 850 * MIB, "free": 3 * GIB}
        for name, key in (("memory_allocated", "allocated"), ("max_memory_allocated", "peak")):
            monkeypatch.setattr(torch.cuda, name, lambda device, key=key: state[key])
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 250 * MIB)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (state["free"], 8 * GIB))
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
        return state

    def bytes_of(self, **changes):
        resolved = Experiment.resolve(config_of(limit=4, **changes))
        return pass_settings._gpu_bytes(
            resolved.classifier(0), resolved.map_methods, 64, CPU, resolved.config.precision
        )

    def test_free_is_what_the_device_and_torchs_cache_have(self, memory):
        class Cuda:
            type = "cuda"

        assert Machine.of(Cuda(), 4).gpu_memory == 3 * GIB + 200 * MIB
        assert Machine.of(CPU, 4).gpu_memory is None

    def test_an_image_takes_a_fourth_of_what_four_take(self, memory):
        assert self.bytes_of() == 200 * MIB

    def test_a_gray_network_is_measured_with_gray_images(self, memory):
        gray = replace(
            Experiment.resolve(config_of(limit=4)).classifier(0), mean=(0.5,), std=(0.5,),
            module=nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            targets=(),
        )  # fmt: skip
        assert pass_settings._gpu_bytes(gray, [], 64, CPU, "fp32") == 200 * MIB

    def test_a_memory_that_holds_no_four_passes_one_by_one(self, memory, monkeypatch):
        def full(*args, **options):
            raise torch.OutOfMemoryError

        monkeypatch.setattr("wsol_bench.capture.capture", full)
        assert chosen(Machine(4, None, 3 * GIB), each=self.bytes_of()).batch_size == 1

    def test_a_network_that_fails_is_left_to_the_run(self, memory, monkeypatch):
        def fails(*args, **options):
            raise ValueError

        monkeypatch.setattr("wsol_bench.capture.capture", fails)
        assert self.bytes_of() is None


def rule(monkeypatch, batch_size, *, channels_last=True):
    """Another machine, which chooses other settings."""

    def choose(config, machine, needs):
        return PassSettings(
            batch_size=batch_size, workers=0, channels_last=channels_last, at_once=batch_size
        )

    monkeypatch.setattr(pass_settings, "settings_for", choose)


class TestRuns:
    def auto(self, root, **changes):
        return experiment(root, **{**AUTO, **changes})

    def test_the_choice_is_told_and_stored(self, root, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(pass_settings, "usable_cores", lambda: 2)
        results = wsol_bench.run(self.auto(root), out=tmp_path / "run")
        [line] = [line for line in capsys.readouterr().err.splitlines() if "batches of" in line]
        threads = torch.get_num_threads()
        said = f"{threads} thread{'s' if threads > 1 else ''}"
        assert line.startswith(
            f"color_net on cpu, {said}: batches of 4, decoded in this process, "
            "channels first, fp32 ("
        )
        assert "bf16" in line
        [session] = results.folder.manifest.sessions
        assert session.settings["color_net"].batch_size == 4
        config = results.folder.identity.config
        assert config["batch_size"] == config["channels_last"] == "auto"

    def test_what_was_asked_for_needs_no_word_of_bf16(self):
        settings = PassSettings(batch_size=8, workers=1, channels_last=False, at_once=8)
        line = described("mine", settings, torch.device("meta"), "bf16")
        assert line == ("mine on meta: batches of 8, decoded by 1 process, channels first, bf16")

    def test_a_part_does_not_depend_on_the_machine(self, root, monkeypatch):
        sizes = set()
        for batch_size in (1, 4, 128):
            rule(monkeypatch, batch_size)
            sizes.add(Experiment.resolve(load_config(self.auto(root))).config.images_per_part)
        assert sizes == {128}
        assert load_config(self.auto(root, batch_size=100)).images_per_part == 200

    def test_shards_of_two_machines_make_one_run(self, root, tmp_path, monkeypatch):
        folders = []
        for index, batch_size in ((1, 1), (2, 4)):
            rule(monkeypatch, batch_size, channels_last=batch_size == 1)
            out = tmp_path / str(index)
            content = self.auto(root, part_size=2)
            folders.append(wsol_bench.run(content, out=out, shard=f"{index}/2").folder)
        whole = merge(folders, tmp_path / "whole")
        assert len(whole.images) == 4

    def test_a_run_is_continued_with_what_its_machine_chose(self, root, tmp_path, monkeypatch):
        rule(monkeypatch, 2)
        sound = wsol_bench.run(self.auto(root, part_size=2))
        stopped_after(1, root, tmp_path / "run", **{**AUTO, "part_size": 2})
        rule(monkeypatch, 1, channels_last=False)  # the free memory may be another one
        results = wsol_bench.run(self.auto(root, part_size=2), out=tmp_path / "run")
        assert results.n_before == 1
        assert_same(results, sound)
        first, second = (
            session.settings["color_net"] for session in read_manifest(tmp_path / "run").sessions
        )
        assert first == second
        assert (first.batch_size, first.channels_last) == (2, True)

    def test_another_machine_chooses_for_itself(self, root, tmp_path, monkeypatch):
        rule(monkeypatch, 2)
        stopped_after(1, root, tmp_path / "run", **{**AUTO, "part_size": 2})
        rule(monkeypatch, 1)
        monkeypatch.setattr(socket, "gethostname", lambda: "another")
        wsol_bench.run(self.auto(root, part_size=2), out=tmp_path / "run")
        batch_sizes = [
            session.settings["color_net"].batch_size
            for session in read_manifest(tmp_path / "run").sessions
        ]
        assert batch_sizes == [2, 1]

    def test_workers_may_be_set_when_a_run_is_continued(self, root, tmp_path, monkeypatch):
        rule(monkeypatch, 2)
        stopped_after(1, root, tmp_path / "run", **{**AUTO, "part_size": 2})
        wsol_bench.run(self.auto(root, part_size=2, workers=1), out=tmp_path / "run")
        last = read_manifest(tmp_path / "run").sessions[-1].settings["color_net"]
        assert (last.workers, last.batch_size) == (1, 2)

    def test_a_batch_size_that_is_named_is_another_run(self, root, tmp_path):
        wsol_bench.run(self.auto(root), out=tmp_path / "run")
        with pytest.raises(RunError, match=r"config\.batch_size: auto -> 4"):
            wsol_bench.run(self.auto(root, batch_size=4), out=tmp_path / "run")


class TestThreads:
    def test_no_more_threads_than_cores_work_and_the_callers_number_comes_back(
        self, root, monkeypatch
    ):
        monkeypatch.setattr(local, "usable_cores", lambda: 1)
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        seen = []
        try:
            resolved = Experiment.resolve(load_config(experiment(root)))
            engine = LocalEngine()
            assert engine.facts(resolved)["threads"] == 1
            for _ in engine.evaluate(resolved, resolved.parts(), lambda n: None):
                seen.append(torch.get_num_threads())
            assert (set(seen), torch.get_num_threads()) == ({1}, 2)
        finally:
            torch.set_num_threads(before)
