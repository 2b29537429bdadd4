"""Condensed numbers say the same as the whole ones, in less memory."""

import numpy as np
import pytest

from wsol_bench.report.analysis import numbers_of
from wsol_bench.report.comparisons import paired_test, pairs_of
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.condensed import condensed, curves_of
from wsol_bench.runs.results import methods_of


@pytest.fixture(params=["run", "swept", "masked"])
def folder(request):
    """A run of each kind of protocol."""
    return request.getfixturevalue(request.param).folder


@pytest.fixture
def whole(folder):
    """The numbers of the methods of the run, with all that they are made of."""
    return [numbers_of(method, folder) for method in methods_of(folder)]


def test_values_and_contributions_are_the_same(whole):
    for method in whole:
        short = condensed(method).numbers
        assert list(short) == list(method.numbers)
        for name, number in method.numbers.items():
            assert short[name].value() == number.value(), name
            assert np.array_equal(short[name].contributions(), number.contributions(), True), name
            for attribute in ("name", "better", "range", "counts_hits"):
                assert getattr(short[name], attribute) == getattr(number, attribute), name


def test_paired_tests_are_the_same(whole):
    first, second, *_ = whole
    expected = [paired_test(pair, 7) for pair in pairs_of(first, second)]
    found = [paired_test(pair, 7) for pair in pairs_of(condensed(first), condensed(second))]
    assert len(expected) > 3
    assert {line["test"] for line in expected} >= {"sign flips"}
    np.testing.assert_equal(found, expected)


def test_no_threshold_is_kept(whole):
    for method in whole:
        for number in condensed(method).numbers.values():
            assert np.asarray(number.values).shape == (len(number),)


def test_a_collection_has_the_intervals_of_the_whole_numbers(folder, whole):
    for line, method in zip(Collection([folder], seed=3).lines, whole, strict=True):
        expected = {name: number.interval(seed=3) for name, number in method.numbers.items()}
        np.testing.assert_equal(line.intervals, expected)
        curves = [
            name for name, number in method.numbers.items() if number.counts_hits and number.best
        ]
        assert list(line.curves) == list(curves_of(method)) == curves
