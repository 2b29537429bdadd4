import json
import re

import jsonschema
import pytest
import yaml

from wsol_bench.errors import ConfigError
from wsol_bench.protocols.load import load_protocol, protocol_names
from wsol_bench.protocols.model import Protocol
from wsol_bench.runs.experiment_config import ExperimentConfig, load_config
from wsol_bench.runs.methods import build_methods

EXPERIMENT = {
    "name": "x",
    "dataset": {"name": "imagenet", "root": "/data"},
    "models": ["resnet50", {"name": "vgg16", "layer": "features.28"}],
    "methods": ["cam"],
    "protocol": "gradcam-2017",
}


def config_file(tmp_path, **changes):
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump({**EXPERIMENT, **changes}))
    return path


def test_a_bare_name_is_a_mapping_with_that_name(tmp_path):
    config = load_config(config_file(tmp_path))
    assert config.models[0].name == "resnet50"
    assert config.models[1].layer == "features.28"
    assert config.protocol.build().name == "gradcam-2017"


def test_a_resolved_config_loads_as_itself(tmp_path):
    config = load_config(config_file(tmp_path))
    assert load_config(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metods": []}, r"experiment.yaml: unknown key 'metods'; did you mean 'methods'\?"),
        (
            {"models": [{"name": "vgg16", "weihgts": "x"}]},
            r"experiment.yaml: unknown key 'models.0.weihgts'; did you mean 'weights'\?",
        ),
        ({"batch_size": "many"}, r"experiment.yaml: 'batch_size': .* found 'many'"),
        ({"batch_size": 0}, r"'batch_size': .* found 0"),
        ({"name": "a/b"}, r"'name'"),
        ({"models": ["vgg16", "vgg16"]}, r"two models have the name 'vgg16'.*'label:'"),
        ({"precision": "fp8"}, r"'precision'"),
        ({"faithfulness": 0}, r"'faithfulness': .* found 0"),
        ({"methods": []}, r"'methods': .* found \[\]"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_file_and_suggestion(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        load_config(config_file(tmp_path, **changes))


def test_a_missing_key_is_named(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text("name: x\n")
    with pytest.raises(ConfigError, match="missing key 'dataset'"):
        load_config(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a\n",
        "a: [",
        "a: !!python/object/apply:os.system ['x']",
        "a: 2024-13-45",
        f"a: {'9' * 5000}",
        "a: &loop [*loop]",
        "{a: 1}: 2",
        "name: x\nname: y\n",
    ],
)
def test_a_file_that_is_no_mapping_is_an_error_and_executes_nothing(tmp_path, text):
    path = tmp_path / "e.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"e\.yaml"):
        load_config(path)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml does not exist"):
        load_config(tmp_path / "nowhere.yaml")


class TestVariables:
    def test_are_expanded_in_every_string(self, tmp_path, monkeypatch):
        monkeypatch.setenv("ROOT", "/somewhere")
        path = config_file(tmp_path, dataset={"name": "imagenet", "root": "${ROOT}/mini"})
        assert load_config(path).dataset.options == {"root": "/somewhere/mini"}

    def test_that_are_not_set_are_an_error_with_key_and_name(self, tmp_path, monkeypatch):
        monkeypatch.delenv("UNSET_VARIABLE", raising=False)
        path = config_file(tmp_path, dataset={"name": "imagenet", "root": "${UNSET_VARIABLE}"})
        with pytest.raises(ConfigError, match=r"'dataset\.root' needs .* UNSET_VARIABLE"):
            load_config(path)


class TestOverrides:
    def test_leave_the_callers_mapping_alone(self):
        content = {**EXPERIMENT, "models": [{"name": "vgg16", "weights": "random"}]}
        config = load_config(content, ["models.0.weights=DEFAULT", "dataset.root=/else"])
        assert config.models[0].weights == "DEFAULT"
        assert content["models"] == [{"name": "vgg16", "weights": "random"}]
        assert content["dataset"]["root"] == EXPERIMENT["dataset"]["root"] == "/data"

    def test_reach_into_mappings_lists_and_bare_names(self, tmp_path):
        config = load_config(
            config_file(tmp_path),
            [
                "batch_size=3",
                "models.0.weights=random",
                "protocol.box={threshold: 0.3}",
                "methods=[cam, grad_cam]",
                "models.1.arguments.num_classes=7",
            ],
        )
        assert config.batch_size == 3
        assert config.models[0].weights == "random"
        assert config.models[1].arguments == {"num_classes": 7}
        assert [method.name for method in config.methods] == ["cam", "grad_cam"]
        assert config.protocol.build().box.threshold == 0.3

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("batch_size", "expected key.path=value"),
            ("models.7.name=x", "position from 0 to 1"),
            ("batch_size.x=1", "expected a mapping at 'batch_size', found 2"),
            ("btch_size=1", "did you mean 'batch_size'"),
            ("limit=[", "override 'limit=\\['"),
            ("limit=2024-13-45", "override 'limit=2024"),
        ],
    )
    def test_that_lead_nowhere_are_errors(self, tmp_path, override, message):
        path = config_file(tmp_path, batch_size=2)
        with pytest.raises(ConfigError, match=message):
            load_config(path, [override])


def test_the_schema_accepts_what_the_loader_accepts(tmp_path):
    schema = ExperimentConfig.model_json_schema()
    json.dumps(schema)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert not list(validator.iter_errors(EXPERIMENT))
    assert list(validator.iter_errors({**EXPERIMENT, "metods": []}))


class TestOptions:
    def test_an_unknown_method_is_an_error_with_the_nearest_name(self, tmp_path):
        with pytest.raises(
            ConfigError, match="unknown map method 'grad_cm'; did you mean 'grad_cam'"
        ):
            load_config(config_file(tmp_path, methods=["grad_cm"]))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"dataset": "."}, "but it is a path; .* by: wsol-bench init my.yaml --data ."),
            ({"dataset": "imagenett"}, "unknown data set 'imagenett'; did you mean 'imagenet'"),
            ({"metrics": ["mean_iuo"]}, "unknown metric 'mean_iuo'; did you mean 'mean_iou'"),
            ({"methods": ["center_bx"]}, "unknown map method 'center_bx'; .* 'center_box'"),
        ],
    )
    def test_other_unknown_names_are_errors_as_early(self, tmp_path, changes, message):
        with pytest.raises(ConfigError, match=message):
            load_config(config_file(tmp_path, **changes))

    def test_a_method_that_stands_twice_is_an_error(self, tmp_path):
        config = load_config(config_file(tmp_path, methods=["cam", "cam"]))
        with pytest.raises(ConfigError, match="'cam' is listed twice"):
            build_methods(config)

    def test_an_option_that_the_method_does_not_have_is_an_error(self, tmp_path):
        """It is told before anything is imported."""
        file = config_file(tmp_path, methods=[{"name": "cam", "stride": 3}])
        with pytest.raises(ConfigError, match=r"methods\.cam: unknown option 'stride'"):
            load_config(file)

    def test_a_missing_or_unknown_data_set_option_is_an_error(self, tmp_path):
        config = load_config(config_file(tmp_path, dataset="imagenet"))
        with pytest.raises(ConfigError, match="dataset: missing option 'root'"):
            config.dataset.load()
        changed = {"name": "imagenet", "root": ".", "spilt": "val"}
        with pytest.raises(ConfigError, match="unknown option 'spilt'; did you mean 'split'"):
            load_config(config_file(tmp_path, dataset=changed))

    def test_an_option_of_the_wrong_type_is_an_error(self, tmp_path):
        changed = {"name": "imagenet", "root": ".", "boxes": "json"}
        config = load_config(config_file(tmp_path, dataset=changed))
        with pytest.raises(ConfigError, match=r"dataset\.boxes: .* found 'json'"):
            config.dataset.load()


class TestProtocols:
    def test_the_papers_thresholds(self):
        gradcam, zhou = load_protocol("gradcam-2017"), load_protocol("zhou-2016")
        assert (gradcam.box.threshold, gradcam.box.comparison) == (0.15, "at_least")
        assert gradcam.map.rectify == "before_upsampling"
        assert (zhou.box.threshold, zhou.box.comparison) == (0.20, "above")
        assert zhou.map.rectify == "never"

    def test_every_knob_is_in_the_hash_and_the_name_is_not(self):
        reference = load_protocol("gradcam-2017")
        changes = [
            {"input": {"size": 299}},
            {"input": {"geometry": "shorter_side"}},
            {"input": {"geometry": "center_crop", "resize_to": 256}},
            {"input": {"filter": "bicubic"}},
            {"input": {"antialias": False}},
            {"map": {"rectify": "after_upsampling"}},
            {"map": {"upsample": "bicubic"}},
            {"map": {"align_corners": True}},
            {"box": {"threshold": 0.2}},
            {"box": {"of": "range"}},
            {"box": {"measured_on": "low_resolution"}},
            {"box": {"comparison": "above"}},
            {"box": {"connectivity": 4}},
            {"scoring": {"iou": 0.7}},
        ]
        hashes = [load_protocol("gradcam-2017", change).hash for change in changes]
        assert len({reference.hash, *hashes}) == len(changes) + 1
        assert reference.model_copy(update={"name": "mine"}).hash == reference.hash

    def test_a_changed_protocol_is_never_reported_under_the_published_name(self):
        changed = load_protocol("gradcam-2017", {"box": {"threshold": 0.2}})
        assert changed.name == "gradcam-2017+box.threshold=0.2"

    def test_a_file_of_ones_own(self, tmp_path):
        content = load_protocol("zhou-2016").model_dump(mode="json", exclude_none=True)
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({**content, "name": "mine"}))
        assert load_protocol(str(path)).hash == load_protocol("zhou-2016").hash
        changed = {**content, "box": {**content["box"], "threshold": 0.5}}
        path.write_text(yaml.safe_dump(changed))
        with pytest.raises(ConfigError, match="'zhou-2016' is the name of a built-in protocol"):
            load_protocol(str(path))

    def test_a_pass_in_half_precision_is_told_by_the_name(self, tmp_path):
        config = load_config(config_file(tmp_path, precision="bf16"))
        assert config.build_protocol().name == "gradcam-2017+precision=bf16"

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"box": {"treshold": 0.2}}, "unknown key 'box.treshold'; did you mean 'threshold'"),
            ({"box": {"threshold": 1.5}}, "'box.threshold'"),
            ({"box": {"connectivity": 6}}, "'box.connectivity'"),
            ({"input": {"geometry": "center_crop"}}, "resize_to"),
            ({"input": {"geometry": "center_crop", "resize_to": 100}}, "smaller than size"),
            ({"map": {"upsample": "nearest", "align_corners": True}}, "align_corners"),
        ],
    )
    def test_a_wrong_field_is_an_error_with_its_key(self, changes, message):
        with pytest.raises(ConfigError, match=message):
            load_protocol("gradcam-2017", changes)

    def test_an_unknown_name_suggests_the_nearest(self):
        with pytest.raises(ConfigError, match="did you mean 'gradcam-2017'"):
            load_protocol("gradcam-2016")

    def test_each_built_in_file_bears_its_own_name(self):
        for name in protocol_names():
            assert load_protocol(name).name == name
            assert isinstance(load_protocol(name), Protocol)


class TestHowAMethodTakesPart:
    def build(self, *methods, **changes):
        content = {**EXPERIMENT, "methods": list(methods), **changes}
        made, sources = build_methods(load_config(content))
        assert not sources
        return made

    def test_seeds_are_methods_of_their_own(self):
        names = [one.name for one in self.build({"name": "rise", "masks": 8, "seeds": 2})]
        assert names == ["rise+masks=8+seed=0", "rise+masks=8+seed=1"]

    def test_a_label_keeps_the_seed(self):
        names = [one.name for one in self.build({"name": "rise", "label": "mine", "seeds": 2})]
        assert names == ["mine+seed=0", "mine+seed=1"]

    def test_sanity_rows_stand_beside_their_method(self):
        swapped = {"name": "grad_cam", "sanity": "class_swapped"}
        names = [one.name for one in self.build("grad_cam", swapped)]
        assert names == ["grad_cam", "class_swapped(grad_cam)"]

    def test_whose_maps_are_made_can_be_asked(self):
        [asked, own] = self.build({"name": "rise", "classes": "all"}, "backprop")
        assert (asked.classes, own.classes) == ("all", "label")

    @pytest.mark.parametrize(
        ("method", "message"),
        [
            ({"name": "cam", "seeds": 2}, "methods.cam.seeds: the method has no option 'seed'"),
            ({"name": "rise", "seed": 1, "seeds": 2}, "give 'seed' or 'seeds', not both"),
            ({"name": "center_box", "sanity": "class_swapped"}, "need a model"),
            ({"name": "center_box", "classes": "label"}, "need a model"),
        ],
    )
    def test_what_does_not_fit_is_an_error(self, method, message):
        with pytest.raises(ConfigError, match=message):
            self.build(method)

    def test_two_of_one_name_are_told_apart_by_a_label(self):
        with pytest.raises(
            ConfigError, match="'rise' is listed twice; tell them apart with 'label"
        ):
            self.build("rise", {"name": "rise", "classes": "all"})

    def test_faithfulness_needs_a_map_of_the_first_prediction(self):
        with pytest.raises(ConfigError, match="give one of them 'classes: all'"):
            self.build("rise", "backprop", faithfulness=4)
        assert len(self.build({"name": "rise", "classes": "all"}, faithfulness=4)) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "my run!"}, "'name': expected letters, digits, .* found 'my run!'"),
        ({"models": "vgg16"}, r"'models': expected a list, such as \[a, b\], found 'vgg16'"),
        ({"models": [3]}, r"'models.0': expected a mapping, such as \{name: value\}, found 3"),
        ({"models": [{"name": "vgg16", "layers": []}]}, "expected a list of at least 1, found"),
        (
            {"models": [{"name": "vgg16", "mean": [1, 2]}]},
            r"'models.0.mean': expected 1 number \(gray\), 3 .* found \[1, 2\]",
        ),
        ({"batch_size": 1.5}, "'batch_size': expected a whole number or auto, found 1.5"),
        ({"precision": "fp8"}, "'precision': expected 'fp32', 'bf16' or 'fp16', found 'fp8'"),
        ({"max_failed": 2}, "'max_failed': expected at most 1, found 2"),
        ({"max_failed": "few"}, "'max_failed': expected a number, found 'few'"),
        ({"strict": "maybe"}, "'strict': expected true or false, found 'maybe'"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_config(config_file(tmp_path, **changes))
    assert not re.search("[Ii]nput|should|valid|permitted|parse", str(error.value))
