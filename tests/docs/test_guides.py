"""Every block of the pages for the first hours runs, in the order of its page."""

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from command_line import run
from user_modules import importable

# The pages are carried out: runs, reports.
pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"


def carried_out(name, folder):
    """What each command of a page printed; its files lie in the folder."""
    text = (DOCS / name).read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert text.count("```") == 2 * len(blocks)
    printed = {}
    with contextlib.chdir(folder), importable(folder):
        for language, block in blocks:
            if language != "sh":
                Path(re.match(r"# (\S+)\n", block)[1]).write_text(
                    block.replace("limit: 100", "limit: 8")
                )
                continue
            for line in block.splitlines():
                if line.startswith("python "):
                    subprocess.run([sys.executable, *line.split()[1:]], check=True)
                else:
                    printed[line] = run(line)
    return printed


def test_start_in_two_minutes(tmp_path):
    printed = carried_out("start.md", tmp_path)
    assert "GT-known" in printed["wsol-bench run first.yaml --out runs/first"]
    assert "MaxBoxAccV2" in printed["wsol-bench rescore runs/first --protocol choe-2020-v2"]
    assert (tmp_path / "runs/first/report.html").is_file()


def test_your_own_data_and_model(tmp_path):
    printed = carried_out("own_data.md", tmp_path)
    assert "12 boxes" in printed["wsol-bench doctor mine.yaml"]
    assert "ODD" not in printed["wsol-bench doctor mine.yaml"]
    summary = pd.read_csv(tmp_path / "runs/mine/tables/summary.csv").set_index("method")
    # The page says that both methods find every square.
    assert (summary.loc[["cam", "grad_cam"], "top1_loc_error"] == 0).all()
    assert summary.loc["center_box", "top1_loc_error"] > 0.5
