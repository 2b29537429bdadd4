"""The notebook of the documentation is carried out, and gives what is stored with it."""

import base64
import io
import json
import re
import runpy
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("nbclient", reason="needs the extra 'test'")
pytest.importorskip("ipykernel", reason="needs the extra 'test'")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs/notebook.ipynb"
NUMBER = re.compile(r"(?<![\w.+=-])[+-]?\d+(?:\.\d+)?(?![\w.]*\w)")


@pytest.fixture(scope="module")
def stored():
    return outputs(json.loads(NOTEBOOK.read_text()))


@pytest.fixture(scope="module")
def carried_out(tmp_path_factory):
    """The folder in which the notebook was carried out, and its outputs."""
    folder = tmp_path_factory.mktemp("notebook")
    return folder, outputs(runpy.run_path(str(ROOT / "scripts/notebook"))["carried_out"](folder))


def outputs(notebook):
    """What each cell of code shows, by its last line: a kind, and text or a picture."""
    found = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            assert output["output_type"] == "execute_result", output
            [(kind, content)] = output["data"].items()
            found["".join(cell["source"]).splitlines()[-1]] = kind, "".join(content)
    return found


def cells(html):
    """The texts of a table's cells, row by row, and the titles of its columns first."""
    rows = re.findall(r"<tr.*?</tr>", html, re.DOTALL)
    return [[*map(unescape, re.findall(r"<t[hd]>(.*?)</t[hd]>", row))] for row in rows]


def test_what_is_stored_is_small_and_names_no_folder_of_a_machine(stored):
    assert NOTEBOOK.stat().st_size < 500_000
    assert len(stored) == 9
    for kind, content in stored.values():
        assert kind == "image/png" or not re.search(r"(?<![\w<.])/\w+/", content), content


def of_cell(outputs, ending):
    """The content that the cell with this last line shows."""
    [content] = [content for line, (_, content) in outputs.items() if line.endswith(ending)]
    return content


def test_what_is_stored_is_right(stored):
    """The claims of the cells, on the outputs that readers see."""
    titles, *rows = cells(of_cell(stored, "results"))
    assert [row[1] for row in rows] == ["grad_cam", "my_cam", "layer_cam", "center_gaussian"]
    assert {row[0] for row in rows} == {"my_net"}
    errors = {row[1]: float(row[titles.index("GT-known loc error")]) for row in rows}

    best = cells(of_cell(stored, "analysis"))[1]
    assert best[1] == "my_cam"
    assert float(best[5]) > 10 and best[6] == "<1e-4"

    won = cells(of_cell(stored, "won.head().round(2)"))[2:]
    assert len(won) == 5
    assert all(float(grad_cam) < 0.5 <= float(mine) for _, _, grad_cam, _, mine in won)

    again = cells(of_cell(stored, "].round(3)"))[1:]
    assert {row[1]: pytest.approx(100 * float(row[3]), abs=0.06) for row in again} == errors

    assert "zhou-2016" in of_cell(stored, 'rescore("zhou-2016")')
    rescored = cells(of_cell(stored, 'rescore("zhou-2016")'))[1:]
    assert [row[5] for row in rescored] != [row[5] for row in rows]
    assert "'my_cam': (4, 2, 14, 14)" in of_cell(stored, "maps.items()}")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_gives_what_is_stored(stored, carried_out):
    folder, given = carried_out
    assert [*given] == [*stored]
    for line, (kind, content) in stored.items():
        assert given[line][0] == kind
        if kind == "image/png":
            pictures = [
                np.asarray(Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB"), float)
                for one in (content, given[line][1])
            ]
            assert pictures[0].shape == pictures[1].shape
            assert pictures[0].std() > 30  # not a blank sheet
            assert np.abs(pictures[0] - pictures[1]).mean() < 5
            continue
        assert NUMBER.split(given[line][1]) == NUMBER.split(content), line
        for one, other in zip(NUMBER.findall(given[line][1]), NUMBER.findall(content), strict=True):
            # Float noise of a point. Seconds are less than one.
            assert float(one) == pytest.approx(float(other), abs=1 if "." in one else 0), line
    page = (folder / "runs/notebook/report.html").read_text()
    assert "my_cam" in page and len(page) > 1e5
    assert (folder / "runs/notebook/rescored/zhou-2016").is_dir()
