"""Names, options and plug-ins, one of them in a small distribution that is made for the test."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from wsol_bench.common.catalog import DATASETS, METHODS, METRICS, NETWORK_FREE, Catalog
from wsol_bench.common.plugin_options import bind_options, options_of_function
from wsol_bench.common.registry import Registry, import_object
from wsol_bench.errors import ConfigError, did_you_mean
from wsol_bench.methods.base import MapMethod, cam_methods


def things() -> Catalog:
    """The catalog of a package that has no plug-ins and no family of them."""
    return Catalog("thing", package="wsol_bench.boxes", group="wsol_bench.boxes", decorator="thing")


@pytest.fixture(scope="module")
def other_process(tmp_path_factory):
    """What a new process finds, with a distribution's metadata on the path as pip lays it."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "my_cams.py").write_text(
        textwrap.dedent(
            '''
            from wsol_bench import Plan, cam_method

            @cam_method("mean_activation", plan=Plan(), paper="")
            def mean_activation(record):
                """The mean over channels, the same for every class."""
                mean = record.activations.mean(dim=1, keepdim=True)
                return mean.expand(-1, record.classes.shape[1], -1, -1)
            '''
        )
    )
    info = folder / "my_cams-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-cams\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[wsol_bench.cams]\nmean_activation = my_cams:mean_activation\n"
    )
    code = (
        f"import json, sys; sys.path.insert(0, {str(folder)!r})\n"
        "from wsol_bench import Plan, cam_method\n"
        "from wsol_bench.errors import ConfigError\n"
        "from wsol_bench.methods.base import cam_methods\n"
        "assert 'wsol_bench.methods.grad_cam' not in sys.modules\n"
        "registered = ''\n"
        "try:\n"
        "    cam_method('grad_cam', plan=Plan(), paper='')(lambda record: record.activations)\n"
        "except ConfigError as error: registered = str(error)\n"
        "name = 'my-cams/mean_activation'\n"
        "found = {'name': cam_methods.get(name).name, 'is_listed': name in list(cam_methods)}\n"
        "print(json.dumps({'registered': registered, **found}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def function_of(module, file):
    """A function that is defined in a module and in the first line of a file."""
    space = {"__name__": module}
    exec(compile("def function():\n    pass\n", file, "exec"), space)
    return space["function"]


class TestNames:
    def test_a_name_is_given_once(self):
        registry: Registry[int] = Registry(int, things())
        registry.register("one", 1, function_of("first_module", "first.py"))
        expected = r"thing 'one' is registered twice: by first\.py:1 and by second\.py:1; give"
        with pytest.raises(ConfigError, match=expected):
            registry.register("one", 2, function_of("second_module", "second.py"))
        assert registry.get("one") == 1

    @pytest.mark.parametrize(
        ("module", "file"), [("first_module", "<ipython-input-2>"), ("__main__", "first.py")]
    )
    def test_a_new_definition_from_the_same_place_replaces_the_old_one(self, module, file):
        """A cell of a notebook runs again; a script is imported by its name, too."""
        registry: Registry[int] = Registry(int, things())
        registry.register("one", 1, function_of("first_module", "first.py"))
        registry.register("one", 2, function_of(module, file))
        assert registry.get("one") == 2

    def test_a_built_in_name_cannot_be_registered_again(self, other_process):
        """The name is refused even if the built-in method's module is not imported yet.

        Otherwise the new method would hide it, and rows under its name would be another method's.
        """
        expected = (
            "map method 'grad_cam' is registered twice: by wsol_bench.methods.grad_cam and by "
        )
        assert other_process["registered"].startswith(expected)

    def test_an_import_path_leads_to_a_method(self):
        method = cam_methods.get("wsol_bench.methods.cam:cam")
        assert method is cam_methods.get("cam")

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("no_such_module:cam", "cannot import 'no_such_module'"),
            (":cam", "cannot import ''"),
            ("broken_plugin:cam", r"cannot import 'broken_plugin': .*broken_plugin\.py:1: ZeroDiv"),
            ("wsol_bench.methods.cam:cma", "has no 'cma'; did you mean 'cam'"),
            ("json:dumps", "not a map method: expected MapMethod .* found function"),
        ],
    )
    def test_a_path_that_leads_nowhere_says_which_half_is_wrong(
        self, path, message, tmp_path, monkeypatch
    ):
        (tmp_path / "broken_plugin.py").write_text("1 / 0")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ConfigError, match=message):
            cam_methods.get(path)

    def test_a_file_that_an_installed_module_hides_is_an_error_that_names_both(
        self, tmp_path, monkeypatch
    ):
        (tmp_path / "jaxtyping.py").write_text("builder = 1")
        monkeypatch.chdir(tmp_path)
        expected = r"imports .*jaxtyping.__init__\.py.*, not .*jaxtyping\.py in the working folder"
        with pytest.raises(ConfigError, match=expected):
            import_object("jaxtyping:builder", "model builder")
        assert import_object("json:dumps", "model builder") is json.dumps

    def test_import_object_names_what_it_was_for(self):
        with pytest.raises(ConfigError, match="model builder 'nope:x'"):
            import_object("nope:x", "model builder")


class TestFamilies:
    @pytest.fixture
    def registry(self):
        registry: Registry[str] = Registry(str, things())
        registry.register("one", "built in", things)
        registry.register("many/first", "built in, too", things)
        registry.family("many")(lambda rest: f"made of {rest}")
        return registry

    @pytest.mark.parametrize(
        ("name", "thing"),
        [
            ("many/second", "made of second"),
            ("many/a/b", "made of a/b"),
            ("many//a", "made of /a"),
            ("many/module:name", "made of module:name"),
            ("many/first", "built in, too"),
            ("one", "built in"),
        ],
    )
    def test_a_family_makes_plug_ins_by_the_rest_of_their_names(self, registry, name, thing):
        assert registry.get(name) == thing
        assert name in registry

    @pytest.mark.parametrize("name", ["many", "many/", "man/second", "two", "json:dumps", 3])
    def test_other_names_are_of_no_family(self, registry, name):
        assert name not in registry
        if isinstance(name, str) and ":" not in name:
            with pytest.raises(
                ConfigError, match=rf"unknown thing '{name}'; .*known: many/\.\.\., many/f"
            ):
                registry.get(name)

    def test_a_list_does_not_hold_them(self, registry):
        assert list(registry) == ["many/first", "one"]

    def test_a_family_comes_before_a_distribution_of_its_name(self, registry, monkeypatch):
        points = {"many/second": None, "few/second": None}
        monkeypatch.setattr(registry.catalog, "entry_points", lambda: points)
        assert registry.get("many/second") == "made of second"
        # The entry point is asked to load.
        with pytest.raises(ConfigError, match=r"few/second.* cannot be loaded: .*AttributeError"):
            registry.get("few/second")

    def test_a_prefix_is_given_once(self, registry):
        def make(rest: str) -> str:
            return rest

        assert registry.family("few")(make) is make
        registry.family("few")(make)
        with pytest.raises(ConfigError, match=r"thing 'many/\.\.\.' is registered twice"):
            registry.family("many")(function_of("elsewhere", "elsewhere.py"))


class TestCatalogs:
    """What is built in is known by its source alone, and is what the source says."""

    @pytest.mark.parametrize(
        "catalog", [METHODS, NETWORK_FREE, METRICS, DATASETS], ids=lambda catalog: catalog.package
    )
    def test_names_papers_and_options_are_those_of_the_imported_plug_ins(self, catalog):
        from wsol_bench.datasets import datasets
        from wsol_bench.methods.network_free import network_free_methods
        from wsol_bench.metrics.base import metrics

        registries = {
            METHODS: cam_methods,
            NETWORK_FREE: network_free_methods,
            METRICS: metrics,
            DATASETS: datasets,
        }
        functions = {
            METHODS: "function",
            NETWORK_FREE: "opener",
            METRICS: "function",
            DATASETS: "load",
        }
        built_in = [name for name in catalog if catalog.describe(name) is not None]
        assert built_in
        for name in built_in:
            thing = registries[catalog].get(name)
            description = catalog.describe(name)
            function = getattr(thing, functions[catalog])
            assert description.summary == (function.__doc__ or "").strip().partition("\n")[0], name
            assert description.paper == getattr(thing, "paper", ""), name
            assert description.options == options_of_function(function), name

    def test_to_list_the_methods_imports_none(self):
        code = (
            "import sys; from wsol_bench.common.catalog import METHODS\n"
            "print(len(list(METHODS)) > 20, 'captum' in METHODS.families, 'torch' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.split() == ["True", "True", "False"], done.stderr

    def test_a_name_that_two_files_give_is_an_error(self, tmp_path, monkeypatch):
        package = tmp_path / "twins"
        package.mkdir()
        (package / "__init__.py").write_text("")
        for name in ("a", "b"):
            (package / f"{name}.py").write_text("@thing('one')\ndef one():\n    pass\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ConfigError, match="thing 'one' is registered twice"):
            list(Catalog("thing", package="twins", group="twins", decorator="thing"))

    @pytest.mark.parametrize("name", ["grad_cam", "captum/X", "somewhere:cam"])
    def test_a_name_that_may_exist_is_not_refused(self, name):
        METHODS.require(name)

    def test_an_unknown_name_is_refused_with_the_nearest_one(self):
        with pytest.raises(ConfigError, match=r"unknown map method 'center_bx'; .*'center_box'"):
            METHODS.require("center_bx", also=NETWORK_FREE)


class TestOptions:
    @staticmethod
    def function(record, *, scale: float = 1.0, folder: Path, names: tuple[str, ...] = (), any=0):
        """What options are bound to."""

    def test_options_without_an_annotation_take_any_value(self):
        assert bind_options(self.function, {"folder": "/a", "any": [1]}, "here")["any"] == [1]

    def test_options_are_converted_by_annotation(self):
        bound = bind_options(self.function, {"folder": "/a", "scale": 2, "names": ["x"]}, "here")
        assert bound == {"folder": Path("/a"), "scale": 2.0, "names": ("x",)}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"folder": "/a", "scael": 1}, "here: unknown option 'scael'; did you mean 'scale'"),
            ({"folder": "/a", "record": 1}, "unknown option 'record'"),
            ({"scale": 1}, "here: missing option 'folder'"),
            ({"folder": "/a", "scale": "big"}, r"here\.scale: .* found 'big'"),
        ],
    )
    def test_options_that_do_not_fit_are_named(self, options, message):
        with pytest.raises(ConfigError, match=message):
            bind_options(self.function, options, "here")


def test_an_installed_distribution_offers_a_method_by_its_entry_point(other_process):
    assert other_process["name"] == "mean_activation"
    assert other_process["is_listed"] is True


def test_every_registered_method_is_complete():
    for name in cam_methods:
        method = cam_methods.get(name)
        assert isinstance(method, MapMethod)
        assert method.name == name
        assert method.function.__doc__
        assert method.paper


def test_of_many_names_an_error_lists_the_nearest() -> None:
    known = [f"layer{stage}.{block}" for stage in range(10) for block in range(10)]
    text = did_you_mean("layer3.44", known)
    assert text.startswith("did you mean 'layer3.4'? nearest of 100: layer3.4, ")
    assert text.count(",") == 4
    assert did_you_mean("layer3.44", known[:30]).endswith("known: " + ", ".join(known[:30]))


def test_of_names_that_a_command_lists_an_error_has_fewer_and_the_command() -> None:
    known = [f"layer{number}" for number in range(16)]
    text = did_you_mean("layer", known, listed_by="wsol-bench list layers")
    assert text.count(",") == 4
    assert text.endswith("; 'wsol-bench list layers' lists all")
    assert did_you_mean("x", known[:15], listed_by="y") == "known: " + ", ".join(sorted(known[:15]))
