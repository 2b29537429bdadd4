"""The cookbook is carried out as it stands, and prints what it shows."""

import contextlib
import importlib
import re
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torchvision
from command_line import run
from user_modules import importable

from wsol_bench import Plan, cam_method, localization_maps
from wsol_bench.capture import BestClasses, capture
from wsol_bench.methods.base import cam_methods
from wsol_bench.models.classifiers import load_classifier
from wsol_bench.models.target_layers import target_of
from wsol_bench.runs.experiment_config import load_config

# The whole page is carried out: checks of several plug-ins, and runs.
pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs/cookbook.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
ELLIPSIS = "..."

# A number by itself, with the blanks that align it; not one within a name, such as block2.
NUMBER = re.compile(r" *(?<![\w.+=-])[+-]?\d+(?:\.\d+)?(?![\w.]*\w)")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The folder of the page's files, and for each block of commands them, and what they print."""
    folder = tmp_path_factory.mktemp("cookbook")
    printed = []
    with (
        contextlib.chdir(folder),
        importable(folder),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("COLUMNS", "80")
        for language, text in BLOCKS:
            if language == "sh":
                lines = text.splitlines()
                printed.append((lines, "".join(install() if "pip" in x else run(x) for x in lines)))
            elif language != "text":
                Path(re.match(r"# (\S+)\n", text)[1]).write_text(text)
                importlib.invalidate_caches()
        yield folder, printed


def install():
    """What pip writes for the entry points; tests need no index and no environment to spoil."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    info = Path(f"{project['name'].replace('-', '_')}-{project['version']}.dist-info")
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    [(group, points)] = project["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {path}" for name, path in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return ""


def is_as_shown(shown, printed):
    """Whether two lines have the same text and layout, and numbers that differ by float noise."""
    pair = [re.sub(r"\bin [\d.]+ s$", "in # s", line.rstrip()) for line in (shown, printed)]
    layouts = [NUMBER.sub(lambda match: "#" * len(match[0]), line) for line in pair]
    if layouts[0] != layouts[1]:
        return False
    numbers = zip(*(NUMBER.findall(line) for line in pair), strict=True)
    # One point. Counts are exact.
    return all(abs(float(a) - float(b)) <= (1 if "." in a + b else 0) for a, b in numbers)


def differences(shown, printed):
    """The lines of a page that were not printed where it shows them, and lines that it hides."""
    rest, wrong, hides = printed.strip("\n").splitlines(), [], False
    for line in shown.strip("\n").splitlines():
        if line == ELLIPSIS:
            hides = True
            continue
        places = range(len(rest)) if hides else range(min(1, len(rest)))
        place = next((place for place in places if is_as_shown(line, rest[place])), None)
        if place is None:
            wrong.append(f"shown:   {line}\nprinted: {rest[0] if rest else ''}")
        rest, hides = rest[(place or 0) + 1 :], False
    return wrong + ([] if hides else [f"hidden:  {line}" for line in rest])


def test_every_block_of_commands_is_followed_by_what_it_prints():
    assert {language for language, _ in BLOCKS} == {"python", "sh", "text", "toml", "yaml"}
    assert PAGE.read_text().count("```") == 2 * len(BLOCKS)
    languages = [language for language, _ in BLOCKS]
    after = [b for a, b in pairwise(languages) if a == "sh"]
    assert after == ["text"] * languages.count("sh") == ["text"] * languages.count("text")


def test_what_the_page_shows_is_what_is_printed(page):
    shown = [text for language, text in BLOCKS if language == "text"]
    for text, (commands, printed) in zip(shown, page[1], strict=True):
        wrong = differences(text, printed)
        assert not wrong, "\n".join([*commands, *wrong, "", "All of it:", printed])


@pytest.mark.parametrize(
    ("printed", "same"),
    [
        ("my_cam   42.00*  [32.80, 51.79]  +11.00   0.10", True),
        ("my_cam   42.60*  [33.40, 52.39]  +10.40   0.17", True),
        ("my_cam    9.00*  [32.80, 51.79]  +11.00   0.10", False),
        ("my_cam   42.00*  [32.80, 51.79]  -11.00   0.10", False),
        ("my_cam   42.00   [32.80, 51.79]  +11.00   0.10", False),
        ("my_cam  42.00*  [32.80, 51.79]  +11.00   0.10", False),
        ("my_map   42.00*  [32.80, 51.79]  +11.00   0.10", False),
        ("my_cam   42.00*  [32.80, 51.79]  +11.00  <1e-4", False),
    ],
)
def test_a_line_of_other_text_layout_or_numbers_is_seen(printed, same):
    assert is_as_shown("my_cam   42.00*  [32.80, 51.79]  +11.00   0.10", printed) is same


def test_lines_that_a_page_lacks_or_invents_are_seen():
    assert differences("a\n...\nd", "a\nb\nc\nd\n") == []
    assert differences("a\n...", "a\nb\n") == []
    assert differences("a, in 2.5 s", "a, in 91.0 s\n") == []
    assert differences("a\nd", "a\nb\nd\n") != []
    assert differences("a\n...\nd", "a\nb\nd\ne\n") != []
    assert differences("a\nb", "a\n") != []
    assert differences("block2  3", "block3  3\n") != []
    assert differences("3 images", "4 images\n") != []


def test_its_story(page):
    """No finding on 100 images; the same run on 300 has one."""
    analyzed = [text for lines, text in page[1] if lines == ["wsol-bench analyze runs/compare"]]
    rows = [re.search(r"^my_cam .* (\+\S+) +(\S+) +\S+ +\S+ +\S+$", x, re.M) for x in analyzed]
    (lead, p), (lead_of_more, p_of_more) = (row.groups() for row in rows)
    assert float(lead) > 5 and float(p) > 0.05
    assert float(lead_of_more) > 5 and float(p_of_more.lstrip("<")) < 0.001


def test_its_experiment_on_ilsvrc_can_be_built(page):
    experiment = load_config(page[0] / "ilsvrc.yaml")
    assert [model.name for model in experiment.models] == ["resnet50", "vgg16"]


def test_my_cam_is_what_the_page_says(page):
    method = sys.modules["my_cam"].my_cam
    net = load_classifier("shapes_net").module
    record = capture(
        net, torch.randn(2, 3, 64, 64), [target_of(net)], method.plan, classes=BestClasses(2)
    )
    norm = (record.activations**2).sum(dim=1).sqrt()[:, None]
    grad_cam = cam_methods.get("grad_cam")(record)
    torch.testing.assert_close(method(record), grad_cam * norm)
    squared = method.with_options({"power": 2.0}, "here")
    torch.testing.assert_close(squared(record), grad_cam * norm**2)


def groups(net, methods):
    """Sets of the methods whose maps are equal up to a positive factor, without negative values."""
    torch.manual_seed(0)
    maps = localization_maps(net.eval(), torch.rand(2, 3, 64, 64), methods, k=2)
    found = []
    for name, map in maps.items():
        map = map.double().clamp(min=0)
        map = map / map.amax(dim=(-2, -1), keepdim=True).clamp(min=1e-30)
        group = next((names for other, names in found if (map - other).abs().max() < 1e-3), None)
        if group is None:
            found.append((map, {name}))
        else:
            group.add(name)
    return [names for _, names in found]


def test_which_methods_are_one_behind_global_average_pooling(page):
    @cam_method("positive_gradients", plan=Plan(gradients=True))
    def positive(record):
        alpha = record.gradients.relu().mean(dim=(-2, -1))
        return torch.einsum("bkc,bchw->bkhw", alpha, record.activations).relu()

    bullets = re.findall(r"^- (`cam`.*|`layer_cam`.*)$", PAGE.read_text(), re.MULTILINE)
    one, other = ([*re.findall(r"`(\w+)`", bullet)] for bullet in bullets)
    methods = (*one, *other, positive, sys.modules["my_cam"].my_cam)
    assert groups(load_classifier("shapes_net").module, methods) == [
        {*one},
        {*other, "positive_gradients"},
        {"my_cam"},
    ]

    # On a network of another kind there are more groups than these three.
    vgg = torchvision.models.vgg11(weights=None)
    assert len(groups(vgg, [method for method in methods if method != "cam"])) > 5
