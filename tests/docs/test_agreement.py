"""Our maps beside those of libraries and authors, real images and networks (WSOL_BENCH_DATA).

What is compared, how alike maps have to be, and why some differ: tests/reference/agreement.yaml.
"""

import agreement
import pytest
from peer_equations import EQUATIONS
from peer_maps import their_maps

from wsol_bench.methods.base import cam_methods

for library in agreement.LIBRARIES:
    pytest.importorskip(library, reason="needs the extra 'peers'")

# Real networks, and methods with hundreds of passes in each library.
pytestmark = pytest.mark.slow

PAIRS = agreement.all_pairs()


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.key)
def test_maps_are_those_of_the_peer_or_of_its_own_equation(data_dir, pair):
    net = agreement.network(data_dir, pair.network)
    theirs = their_maps(pair, net)
    assert bool((theirs.flatten(2).amax(2) > theirs.flatten(2).amin(2)).all())  # none is flat
    found = agreement.compare(agreement.our_maps(pair, net), theirs, pair)
    explained = pair.explained
    if explained is None:
        assert found.holds, found
        return
    if not explained.get("machine"):
        assert not found.holds, f"{found}: the explanation is no longer true"
        measured = explained["correlation"][pair.network]
        assert found.correlation == pytest.approx(measured, abs=0.02 * (1 - measured) + 1e-4)
    by_equation = EQUATIONS[explained["equation"]](net, pair, theirs)
    assert agreement.compare(by_equation, theirs, pair).holds


INSTEAD = sorted({(pair.instead_of, pair.ours) for pair in PAIRS if pair.instead_of})


@pytest.mark.parametrize(("default", "variant"), INSTEAD)
def test_a_variant_is_compared_where_it_differs_from_the_default(data_dir, default, variant):
    for pair in PAIRS:
        if (pair.instead_of, pair.ours) == (default, variant):
            net = agreement.network(data_dir, pair.network)
            ours = agreement.our_maps(pair, net)
            of_default = agreement.default_maps(pair, net)
            if not agreement.compare(of_default, ours, pair).holds:
                return
    pytest.fail(f"{variant} is {default} on all networks that it is compared on")


@pytest.mark.parametrize("name", ["finer_cam", "shapley_cam"])
def test_what_refines_grad_cam_is_compared_where_it_differs_from_it(data_dir, name):
    for pair in PAIRS:
        if pair.method == name:
            net = agreement.network(data_dir, pair.network)
            plain = cam_methods.get("grad_cam")(net.record)
            if not agreement.compare(agreement.our_maps(pair, net), plain, pair).holds:
                return
    pytest.fail(f"{name} is grad_cam on all networks that it is compared on")


def test_every_method_is_compared_or_has_no_peer():
    compared = {pair.method for pair in PAIRS}
    alone = set(agreement.SPECIFICATION["without_a_peer"])
    assert not compared & alone
    built_in = {
        name
        for name in cam_methods
        if "/" not in name and cam_methods.get(name).function.__module__.startswith("wsol_bench.")
    }
    assert compared | alone == built_in


def test_every_explanation_is_of_a_pair():
    for entry in agreement.SPECIFICATION["explained"]:
        networks = {pair.network for pair in PAIRS if pair.explained == entry}
        assert networks == set(entry["correlation"]), (entry["method"], entry["peer"])
        assert entry["equation"] in EQUATIONS
