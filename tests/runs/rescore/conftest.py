"""Finished runs whose maps are scored again, each evaluated once."""

import pytest
from colors import color_experiment
from rescoring import with_network_free

import wsol_bench


@pytest.fixture(scope="session")
def experiment(root):
    return color_experiment(root, workers=0, batch_size=2, part_size=2)


@pytest.fixture(scope="session")
def source(experiment, tmp_path_factory):
    """A finished run of two parts; no test writes more there than below ``rescored``."""
    return wsol_bench.run(experiment, out=tmp_path_factory.mktemp("source") / "run").folder


@pytest.fixture(scope="session")
def fresh(experiment):
    """The same experiment under the protocol zhou-2016."""
    return wsol_bench.run({**experiment, "protocol": "zhou-2016"})


@pytest.fixture(scope="session")
def mixed(root, tmp_path_factory):
    """An experiment with network-free methods beside a network, in two parts, and its run."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "chosen.txt").write_text("ILSVRC2012_val_00000001\nILSVRC2012_val_00000002\n")
    experiment = {**with_network_free(root, folder), "workers": 0, "part_size": 2, "batch_size": 2}
    return experiment, wsol_bench.run(experiment, out=folder / "run")
