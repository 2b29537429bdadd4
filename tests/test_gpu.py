"""What must hold on a GPU: the same results as on the CPU, to float noise."""

import pytest
import torch
from colors import color_experiment, write_colors

import wsol_bench

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
BOX = ["x0", "y0", "x1", "y1"]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_color_world_has_the_same_boxes_on_a_gpu(tmp_path, precision):
    root = write_colors(tmp_path)
    cpu = wsol_bench.run(color_experiment(root))
    gpu = wsol_bench.run(color_experiment(root, device="cuda", precision=precision))
    assert gpu.rows["class"].tolist() == cpu.rows["class"].tolist()
    assert gpu.rows["status"].tolist() == cpu.rows["status"].tolist()
    assert gpu.rows[BOX].equals(cpu.rows[BOX])
    assert gpu.summary["top1_loc_error"].tolist() == [0, 0]
