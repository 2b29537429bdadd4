"""The spread over seeds, by hand."""

import pandas as pd
import pytest

from wsol_bench.metrics.seeds import over_seeds


def line(method, error, **changes):
    return {
        "model": "net",
        "method": method,
        "layer": "",
        "protocol": "p",
        "protocol_hash": "h",
        "status": "ok",
        "n_images": 10,
        "top1_loc_error": error,
        "seconds": 1.0,
        **changes,
    }


def test_is_of_methods_that_differ_in_the_seed_alone():
    table = over_seeds(
        pd.DataFrame(
            [
                line("cam", 0.9),
                line("rise+masks=8+seed=0", 0.2),
                line("rise+masks=8+seed=1", 0.4),
                line("rise+masks=8+seed=12", 0.6),
                line("rise+masks=9+seed=0", 0.1),
                line("rise+masks=8+seed=0", 0.5, model="other"),
            ]
        )
    )
    [found] = table.to_dict(orient="records")
    assert (found["model"], found["method"]) == ("net", "rise+masks=8")
    assert (found["number"], found["n_seeds"]) == ("top1_loc_error", 3)
    assert found["mean"] == pytest.approx(0.4)
    assert found["sd"] == pytest.approx(0.2)
    assert (found["low"], found["high"]) == (0.2, 0.6)


def test_a_number_that_one_seed_has_not_is_over_the_others():
    lines = [line("rise+seed=0", 0.2), line("rise+seed=1", float("nan")), line("rise+seed=2", 0.3)]
    assert over_seeds(pd.DataFrame(lines))["n_seeds"].tolist() == [2]


def test_there_is_none_where_no_method_has_seeds():
    table = over_seeds(pd.DataFrame([line("cam", 0.9), line("grad_cam", 0.8)]))
    assert len(table) == 0
    assert "mean" in table


def test_sanity_rows_are_methods_of_their_own():
    names = (
        "rise+seed=0",
        "rise+seed=1",
        "class_swapped(rise+seed=0)",
        "class_swapped(rise+seed=1)",
    )
    table = over_seeds(pd.DataFrame([line(name, 0.1 * n) for n, name in enumerate(names)]))
    assert table["method"].tolist() == ["rise", "class_swapped(rise)"]
