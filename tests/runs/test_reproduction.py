"""The runs of a table: one a network, without those whose weights are missing."""

import hashlib
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
import yaml
from colors import color_experiment, color_net

import wsol_bench
from wsol_bench.errors import ConfigError, DatasetError, ModelError
from wsol_bench.models.published_weights import obtain
from wsol_bench.runs.experiment_config import load_config
from wsol_bench.runs.reproduction import load_table, reproduce


def row(model, method, **numbers):
    return {"model": model, "method": method, "numbers": numbers or {"top1_loc_error": 50}}


def table(root, weights, *rows, **changes):
    """An experiment of two networks whose weights are files."""
    [model] = color_experiment(root)["models"]
    models = [
        {**model, "label": label, "weights": str(weights / f"{label[0]}.pth")}
        for label in ("first", "second / net")
    ]
    published = {
        "source": "a paper", "unit": "percent", "rows": [*rows],
        "weights": {"first": "ask the authors."},
    }  # fmt: skip
    content = color_experiment(
        root, models=models, methods=["cam", "grad_cam", "center_box"], published=published,
        workers=0, **changes,
    )  # fmt: skip
    return load_config(content)


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def save(weights, name):
    torch.save(color_net().state_dict(), weights / f"{name}.pth")


ROWS = [row("first", "cam"), row("second / net", "grad_cam"), row("-", "center_box")]


class TestRuns:
    def test_are_of_the_methods_of_each_network_s_rows(self, root, weights, tmp_path):
        save(weights, "f")
        save(weights, "s")
        done = reproduce(table(root, weights, *ROWS), tmp_path / "out", weights=weights)
        assert not done.missing
        lines = [
            (*run.identity.models, *run.identity.methods, *run.identity.sources)
            for run in done.runs
        ]
        assert lines == [("first", "cam"), ("second / net", "grad_cam"), ("-", "center_box")]
        names = [run.path.name for run in done.runs]
        assert names[0] == "first"
        assert names[1].startswith("second_net-")
        assert names[2] == "no-model"

    def test_lack_a_network_without_weights_until_they_come(self, root, weights, tmp_path):
        save(weights, "f")
        config = table(root, weights, *ROWS[:2])
        done = reproduce(config, tmp_path / "out", weights=weights)
        [first] = done.runs
        [missing] = done.missing
        assert missing.model == "second / net"
        assert missing.reason == (f"second / net: the weights file {weights / 's.pth'} is missing.")
        save(weights, "s")
        later = reproduce(config, tmp_path / "out", weights=weights)
        assert later.runs[0].manifest.id == first.manifest.id
        assert [list(run.identity.models) for run in later.runs] == [["first"], ["second / net"]]

    def test_are_of_methods_by_their_names_in_the_results(self, root, weights, tmp_path):
        """A method with seeds has one name for each of them, and a sanity check its own."""
        save(weights, "f")
        names = ("smooth_grad+seed=0", "class_swapped(grad_cam)")
        config = table(root, weights, *(row("first", name) for name in names))
        methods = ["cam", "grad_cam", {"name": "smooth_grad", "seeds": 2}]
        methods += [{"name": "grad_cam", "sanity": "class_swapped"}]
        config = load_config({**config.model_dump(mode="json"), "methods": methods})
        [run] = reproduce(config, tmp_path / "out", weights=weights).runs
        assert {*run.identity.methods} == {*names, "smooth_grad+seed=1"}

    @pytest.mark.parametrize("label", ["no-model", "reproduction.csv", "net" * 100, "..", "\u200b"])
    def test_have_folders_of_their_own(self, label, root, weights, tmp_path):
        save(weights, label[0])
        save(weights, "f")
        config = table(root, weights, row(label, "cam"), row("-", "center_box"))
        [model, _] = config.models
        config = config.model_copy(update={"models": [model.model_copy(update={"label": label})]})
        done = reproduce(config, tmp_path / "out", weights=weights)
        [name, other] = (run.path.name for run in done.runs)
        assert other == "no-model" != name
        assert done.runs[0].path.parent == tmp_path / "out"
        assert name not in ("", ".", "..", label) and len(name) < 100

    def test_say_where_weights_are_to_be_had(self, root, weights, tmp_path):
        done = reproduce(table(root, weights, *ROWS[:2]), tmp_path / "out", weights=weights)
        assert done.missing[0].reason.endswith("is missing. Source: ask the authors.")

    def test_go_on_behind_a_network_whose_weights_do_not_fit(self, root, weights, tmp_path):
        torch.save({"other": torch.ones(2)}, weights / "f.pth")
        save(weights, "s")
        done = reproduce(table(root, weights, *ROWS[:2]), tmp_path / "out", weights=weights)
        assert [(one.model, one.failed) for one in done.missing] == [("first", True)]
        assert "weights do not fit" in done.missing[0].reason
        assert len(done.runs) == 1

    def test_stop_at_a_data_set_that_is_not_there(self, root, weights, tmp_path):
        save(weights, "f")
        config = table(root, weights, ROWS[0], dataset={"name": "imagenet", "root": str(tmp_path)})
        with pytest.raises(DatasetError):
            reproduce(config, tmp_path / "out", weights=weights)

    def test_without_published_numbers_are_of_all_methods(self, root, weights, tmp_path):
        save(weights, "f")
        save(weights, "s")
        config = table(root, weights, *ROWS).model_copy(update={"published": None})
        done = reproduce(config, tmp_path / "out", weights=weights)
        assert len(done.runs) == 2
        assert all(len(run.identity.methods) == 2 for run in done.runs)

    def test_of_a_network_without_a_row_are_of_all_methods(self, root, weights, tmp_path):
        save(weights, "f")
        save(weights, "s")
        config = table(root, weights, row("first", "cam"))
        first, second = reproduce(config, tmp_path / "out", weights=weights).runs
        assert {*first.identity.methods} == {"cam"}
        assert {*second.identity.methods} == {"cam", "grad_cam"}

    def test_are_extended_to_more_images(self, root, weights, tmp_path):
        save(weights, "f")
        config = table(root, weights, *ROWS[:2], part_size=1, batch_size=1)
        for limit in (1, 3):
            limited = config.model_copy(update={"limit": limit})
            done = reproduce(limited, tmp_path / "out", weights=weights)
        assert done.runs[0].identity.dataset.n_images == 3


class TestData:
    def test_of_an_experiment_that_names_its_own_cannot_be_given(self, root, tmp_path):
        file = tmp_path / "mine.yaml"
        file.write_text(yaml.safe_dump(color_experiment(root)))
        load_table(str(file), data=None, weights=tmp_path)
        with pytest.raises(ConfigError, match="names its data set itself"):
            load_table(str(file), data=root, weights=tmp_path)

    def test_are_asked_for_in_words_of_python(self, tmp_path):
        with pytest.raises(
            ConfigError, match=r"expected the folder of its data set \(data=\.\.\.\)"
        ):
            wsol_bench.reproduce("grad_cam_2017", out=tmp_path)


class TestPublishedWeights:
    """The file of a download, ``vgg16-<digest>.pth``, from a folder or the network."""

    CONTENT = b"weights"
    DIGEST = hashlib.sha256(CONTENT).hexdigest()[:8]

    @pytest.fixture
    def vgg(self, tmp_path, monkeypatch):
        """The published weights of a network, in a cache that is empty."""
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
        one = SimpleNamespace(
            name="IMAGENET1K_V1",
            url=f"https://example.org/models/vgg16-{self.DIGEST}.pth",
            get_state_dict=mock.Mock(side_effect=OSError("no network")),
        )

        class Sets(dict):
            def __iter__(self):
                return iter(self.values())

        import torchvision

        monkeypatch.setattr(
            torchvision.models, "get_model_weights", lambda name: Sets({one.name: one})
        )
        return one

    def test_of_the_folder_come_into_the_cache(self, vgg, tmp_path):
        name = f"vgg16-{self.DIGEST}.pth"
        (tmp_path / name).write_bytes(self.CONTENT)
        obtain("vgg16", "IMAGENET1K_V1", tmp_path)
        assert (tmp_path / "hub/checkpoints" / name).read_bytes() == self.CONTENT
        vgg.get_state_dict.assert_not_called()
        (tmp_path / name).unlink()
        obtain("vgg16", "IMAGENET1K_V1", tmp_path)  # which is there now

    def test_that_are_damaged_are_refused(self, vgg, tmp_path):
        (tmp_path / f"vgg16-{self.DIGEST}.pth").write_bytes(b"other")
        with pytest.raises(ModelError, match=f"begins with {self.DIGEST}, as its name says, found"):
            obtain("vgg16", "IMAGENET1K_V1", tmp_path)
        assert not (tmp_path / "hub").exists()

    def test_that_are_nowhere_are_named_with_their_place(self, vgg, tmp_path):
        told = f"could not be downloaded .* Get {vgg.url} .* and put it into {tmp_path}"
        with pytest.raises(ModelError, match=told):
            obtain("vgg16", "IMAGENET1K_V1", tmp_path)

    @pytest.mark.parametrize("name", ["shapes_net", "timm/vgg16", "colors:color_net"])
    def test_of_others_than_torchvision_are_left_alone(self, vgg, name, tmp_path):
        obtain(name, "DEFAULT", tmp_path)
        vgg.get_state_dict.assert_not_called()
