"""A wrong argument, file or folder gets an error message that says how to mend it."""

from pathlib import Path

import pytest
import yaml
from colors import color_experiment
from command_line import cli


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["run", "typo.yaml"], "unknown key 'metods'; did you mean 'methods'?"),
        (["run", "rootless.yaml"], "missing-root"),
        (["score", "nothing.txt", "--root", "."], "nothing.txt does not exist"),
        (["score", "typo.yaml", "--root", "missing-root"], "missing-root"),
        (["score", "typo.yaml"], "missing option 'root'"),
        (["score", "typo.yaml", "--root", ".", "--option", "name=5"], "name"),
        (["score", "typo.yaml", "--root", ".", "--option", "subset=["], "subset=["),
        (["run", "typo.yaml", "--set", "limit=["], "limit=["),
        (["run", "right.yaml", "--force"], "expected --out FOLDER, found none"),
        (
            ["run", "right.yaml", "--actors", "2"],
            "--actors needs --engine ray, found --engine local",
        ),
        (["run", "right.yaml", "--address", "auto"], "add --engine ray, or leave --address out"),
        (["export", "missing-root", "--format", "kaggle"], "is no run folder"),
    ],
)
def test_a_wrong_input_is_one_clear_message_and_exit_code_1(tmp_path, arguments, message):
    experiment = color_experiment(Path("missing-root"))
    (tmp_path / "rootless.yaml").write_text(yaml.safe_dump(experiment))
    (tmp_path / "right.yaml").write_text(
        "{name: right, dataset: shapes, methods: [full_image], protocol: gradcam-2017}"
    )
    (tmp_path / "typo.yaml").write_text(yaml.safe_dump({**experiment, "metods": []}))
    out, err = cli(*arguments, cwd=tmp_path, code=1)
    assert out == ""
    assert err.startswith("Error: ")
    assert message in err
