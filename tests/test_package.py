"""The shape of the package: what it imports, in which direction, and what it promises."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import wsol_bench

PACKAGE = Path(wsol_bench.__file__).parent

# Imports point one way: a module imports only what stands in an earlier line, or in its own entry.
# A dotted entry is a module or folder that stands lower than the room it lies in.
FLOORS = [
    ["common.harmless"],
    ["errors"],
    ["common"],
    ["geometry", "runs.schema"],
    ["datasets"],
    ["protocols"],
    ["images"],
    ["boxes", "statistics"],
    ["metrics"],
    ["scoring", "report.tables"],
    ["methods.maps_or_boxes"],
    ["methods.network_free", "methods.imported.map_files", "methods.imported.prediction_files"],
    ["methods.baselines", "methods.imported"],
    ["models"],
    ["capture"],
    ["methods"],
    ["methods.localization_maps", "runs.overrides"],
    ["papers"],
    ["runs.experiment_config"],
    ["runs"],
    ["contracts", "report", "runs.doctor"],
    ["calls"],
    ["photographs", "results"],
    ["api"],
    ["cli"],
]
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def modules():
    return [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


def entry_of(parts):
    """The longest entry of FLOORS that a module's dotted name begins with; "" for none."""
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in FLOOR), "")


def parts_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imported_entries(path):
    """Entries of FLOORS that a module imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            package, *parts = name.split(".")
            if package == "wsol_bench" and (entry := entry_of(parts)):
                yield entry


def test_every_module_stands_on_a_floor():
    entries = {entry_of(parts_of(path)) for path in modules()}
    assert entries == set(FLOOR)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = entry_of(parts_of(path))
    for other in imported_entries(path):
        if own != other:
            assert FLOOR[other] < FLOOR[own], f"{path.name} ({own}) imports {other}"


def run_python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, wsol_bench; print({'torch', 'numpy', 'pandas', 'typer'} & set(sys.modules))"
    assert run_python(code) == "set()"


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['wsol-bench', '--help']\n"
        "from wsol_bench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print({'torch', 'pandas', 'numba', 'pydantic', 'numpy'} & set(sys.modules))"
    )
    output = run_python(code)
    assert output.splitlines()[-1] == "set()"
    assert all(
        command in output
        for command in ("demo", "run", "score", "export", "list", "doctor", "check")
    )


def test_every_public_name_is_there_and_documented():
    for name in wsol_bench.__all__:
        thing = getattr(wsol_bench, name)
        assert name == "__version__" or thing.__doc__, name
        # A module may bear the name of what is in it.
        assert (type(thing) is ModuleType) == (name == "boxes"), name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = wsol_bench.nonsense


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_all_lists_names_that_exist(path):
    tree = ast.parse(path.read_text())
    defined = {
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef))
    }
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        targets = [one for target in targets for one in getattr(target, "elts", [target])]
        defined |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.ImportFrom):
            defined |= {alias.asname or alias.name for alias in node.names}
    listed = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    ]
    for names in listed:
        assert names == sorted(names, key=names_order), path
        assert set(names) <= defined, path


def names_order(name):
    """Constants, then classes, then functions: the order that the linter keeps."""
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, name


# ---- limits of size: whoever needs more says why, or divides

MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60
MOST_PARAMETERS = 8
MOST_LINES_OF_A_TEST_FILE = 500
# A classifier is loaded by the keys of a configuration's entry, and maps are made by choices of
# users; the last is torch's own signature.
LONG_SIGNATURES = {"load_classifier", "localization_maps", "explain", "_multi_head"}


def functions_of(path):
    return [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def has_many_options(path, function):
    """Return whether it is a command, the loader of a data set, or one of `LONG_SIGNATURES`."""
    decorators = [getattr(one, "func", None) for one in function.decorator_list]
    is_dataset = any(getattr(decorator, "id", "") == "dataset" for decorator in decorators)
    return is_dataset or PACKAGE / "cli" in path.parents or function.name in LONG_SIGNATURES


def n_parameters(function):
    arguments = function.args
    names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len([one for one in names if one.arg not in ("self", "cls")])


def test_no_module_is_long_unless_it_says_why():
    too_long = {}
    for path in (*PACKAGE.rglob("*.py"), *PACKAGE.parent.glob("benchmarks/*.py")):
        text = path.read_text()
        docstring = " ".join((ast.get_docstring(ast.parse(text)) or "").split())
        explained = re.search(rf"(^|[.!?] )Longer than {MOST_LINES} lines because ", docstring)
        if len(text.splitlines()) > MOST_LINES and not explained:
            too_long[str(path.relative_to(PACKAGE.parent))] = len(text.splitlines())
    assert too_long == {}


def test_no_function_is_long_unless_its_module_says_why():
    too_long = {
        f"{path.relative_to(PACKAGE)}:{function.name}": function.end_lineno - function.lineno + 1
        for path in PACKAGE.rglob("*.py")
        for function in functions_of(path)
        if function.end_lineno - function.lineno + 1 > MOST_LINES_OF_A_FUNCTION
        and f"``{function.name}`` is longer than other functions because" not in path.read_text()
    }
    assert too_long == {}


def test_no_signature_is_long():
    too_long = {
        f"{path.relative_to(PACKAGE)}:{function.name}": n_parameters(function)
        for path in PACKAGE.rglob("*.py")
        for function in functions_of(path)
        if n_parameters(function) > MOST_PARAMETERS and not has_many_options(path, function)
    }
    assert too_long == {}


def test_no_test_file_is_long():
    tests = Path(__file__).parent
    lengths = {
        str(path.relative_to(tests)): len(path.read_text().splitlines())
        for path in tests.rglob("*.py")
    }
    assert {
        name: length for name, length in lengths.items() if length > MOST_LINES_OF_A_TEST_FILE
    } == {}
