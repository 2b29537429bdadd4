"""Every block of the pages for the first hours runs, in the order of its page."""

import argparse
import contextlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import run
from PIL import Image
from torchvision import models
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


def write_photographs(folder, names, n):
    """Rectangles on noise, by turns of each class, and their inclusive corners counted from 0."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(n):
        pixels = rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)
        x0, y0, side = rng.integers(5, 40, 3).tolist()
        pixels[y0 : y0 + side, x0 : x0 + side] = 40 * (number % len(names))
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
        yield f"{number}.jpg", names[number % len(names)], x0, y0, x0 + side - 1, y0 + side - 1


def write_own_data(folder):
    """The files that the four configs of own_data.md name, made up: photographs and trainings."""
    corners = ("xmin", "ymin", "xmax", "ymax")
    for name, label, *corner in write_photographs(folder / "photos", ["radio", "dog"], 6):
        box = "".join(
            f"<{key}>{value + 1}</{key}>" for key, value in zip(corners, corner, strict=True)
        )
        (folder / "photos" / Path(name).with_suffix(".xml")).write_text(
            f"<annotation><filename>{name}</filename><size><width>120</width><height>90</height>"
            f"</size><object><name>{label}</name><bndbox>{box}</bndbox></object></annotation>"
        )
    names = ["church", "french horn", "golf ball", "parachute", "tench"]
    rows = write_photographs(folder / "shop/images", names, 10)
    lines = [";".join(map(str, row)) for row in (("filename", "class", *corners), *rows)]
    (folder / "shop/labels.csv").write_text("\n".join(lines))
    (folder / "order.txt").write_text("radio\ndog\n")
    [code] = re.findall(r"# small_net.py\n(.*?)```", (DOCS / "own_data.md").read_text(), re.DOTALL)
    module = {}
    exec(code, module)
    network = module["SmallNet"]
    torch.save(network(2).state_dict(), folder / "two.pth")
    torch.save(network(1).state_dict(), folder / "single.pth")
    torch.save(models.resnet18(num_classes=5).state_dict(), folder / "resnet18.pth")
    state = {f"model.{key}": value for key, value in network(5).state_dict().items()}
    checkpoint = {
        "epoch": 11, "pytorch-lightning_version": "2.2.1", "state_dict": state, "callbacks": {},
        "hyper_parameters": {"args": argparse.Namespace(lr=0.001)},
    }  # fmt: skip
    torch.save(checkpoint, folder / "epoch=11-step=384.ckpt")


def test_your_own_data_and_model(tmp_path):
    write_own_data(tmp_path)
    printed = carried_out("own_data.md", tmp_path)
    n_images = {"photos": 6, "shop": 10, "lightning": 10, "logit": 6}
    for name, expected in n_images.items():
        # A first number takes a config of under ten lines, besides the line of its name.
        assert len((tmp_path / f"{name}.yaml").read_text().splitlines()) - 1 < 10
        assert "GT-known" in printed[f"wsol-bench run {name}.yaml --out runs/{name}"]
        table = pd.read_csv(tmp_path / f"runs/{name}/tables/summary.csv")
        assert set(table["n_images"]) == {expected}
        assert set(table["status"]) == {"ok"}
        assert table["gt_known_loc_error"].between(0, 1).all()
    # COCO's JSON has the boxes of the CSV file, which a network-free method shows.
    errors = [
        pd.read_csv(tmp_path / f"runs/{name}/tables/summary.csv").set_index("method")
        for name in ("shop", "lightning")
    ]
    of_center = [table.loc["center_box", "gt_known_loc_error"] for table in errors]
    assert of_center[0] == of_center[1]
    assert "12 boxes" in printed["wsol-bench doctor mine.yaml"]
    assert "ODD" not in printed["wsol-bench doctor mine.yaml"]
    summary = pd.read_csv(tmp_path / "runs/mine/tables/summary.csv").set_index("method")
    # The page says that both methods find every square.
    assert (summary.loc[["cam", "grad_cam"], "top1_loc_error"] == 0).all()
    assert summary.loc["center_box", "top1_loc_error"] > 0.5
