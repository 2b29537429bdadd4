"""The command that checks map methods and metrics."""

import re
import textwrap

import pytest
from command_line import cli
from user_modules import importable


@pytest.fixture
def modules(tmp_path):
    head = "import torch\nfrom wsol_bench import Plan, cam_method\n"
    (tmp_path / "checked_cams.py").write_text(
        head
        + textwrap.dedent(
            """
            @cam_method("checked", plan=Plan(gradients=True))
            def checked(record, *, power: float = 1.0):
                print("hello from the method")
                return (record.gradients.relu() ** power * record.activations[:, None]).sum(2)

            @cam_method("cursed", plan=Plan(gradients=True))
            def cursed(record):
                raise ValueError("\\x1b[2Jon purpose")

            def bare(record):
                return record.activations
            """
        )
    )
    with importable(tmp_path):
        yield tmp_path


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """A terminal in which every line is whole."""
    monkeypatch.setenv("COLUMNS", "300")


def test_every_clause_has_a_line_and_the_last_line_counts_them(modules):
    arguments = ("check", "checked_cams:checked", "--option", "power=2")
    out, err = cli(*arguments, cwd=modules)
    first, *lines, last = out.splitlines()
    assert first.startswith("checked+power=2")
    assert "  passed  maps hold no NaN and no infinity" in lines
    assert lines[-1].startswith("  -       if it claims to generalize CAM, its maps are ReLU(CAM)")
    assert re.fullmatch(
        r"checked\+power=[\d.]+: \d+ passed, 0 failed, 1 not applicable or not checked, in "
        r"\d+\.\d s",
        last,
    )
    assert "hello from the method" in err


def test_a_failed_clause_is_exit_code_1_and_the_others_are_checked(modules):
    out, _ = cli("check", "checked_cams:cursed", "checked_cams:checked", cwd=modules, code=1)
    assert "  FAILED  it returns one map for each class slot: PluginError: map method 'c" in out
    assert "ValueError: \\x1b[2Jon purpose" in out
    reason = "not checked, because this clause failed: it returns one map for each class slot"
    assert out.count(reason) == 1  # and not for each of the 18 clauses
    assert f"  -       18 clauses: {reason}\n          - maps are float32" in out
    assert "cursed: 0 passed, 1 failed, 18 not applicable or not checked" in out
    assert re.search(r"checked: 18 passed, 0 failed", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["grad_kam"], "unknown map method or metric 'grad_kam'; did you mean 'grad_cam'?"),
        (["mean_iuo"], "unknown map method or metric 'mean_iuo'; did you mean 'mean_iou'?"),
        (
            ["checked_cams.py"],
            "expected FILE:FUNCTION without .py; write checked_cams:checked_cams",
        ),
        (
            ["a/b.py:f"],
            "map method or metric 'a/b.py:f': expected FILE:FUNCTION without .py; write a.b:f",
        ),
        (["checked_cams:none"], "has no 'none'; known: bare, checked, cursed\n"),
        (["nowhere:my_cam"], "cannot import 'nowhere'"),
        (["checked_cams:bare"], 'write above it: @cam_method("bare", plan=Plan('),
        (["grad_cam", "--option", "power=2"], "methods.grad_cam: unknown option 'power'"),
        (["grad_cam", "--option", "power"], "--option power: expected KEY=VALUE"),
        (["center_gaussian"], "'center_gaussian' needs no network, so it has no contract to check"),
        (["mean_iou", "--option", "power"], "expected KEY=VALUE, such as k=500, found 'power'"),
    ],
)
def test_a_name_or_option_that_cannot_be_meant_is_one_clear_message(modules, arguments, message):
    out, err = cli("check", *arguments, cwd=modules, code=1)
    assert out == ""
    assert err.splitlines()[1].startswith("Error: ")
    assert message in err
