"""Wrong arguments of the functions on maps are errors that list the choices, and change no box."""

import datetime
import inspect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsol_bench import boxes
from wsol_bench.boxes.component import largest_components
from wsol_bench.boxes.contours import contour_sweep
from wsol_bench.boxes.threshold_sweep import sweep
from wsol_bench.protocols.sections import BoxSection

# Users have no type checker at run time, so these tests call the functions without the tests' one.
largest_component, largest_component_box, threshold_sweep, sweep_best_iou = map(
    inspect.unwrap,
    (
        boxes.largest_component,
        boxes.largest_component_box,
        boxes.threshold_sweep,
        boxes.sweep_best_iou,
    ),
)
largest_components, contour_sweep, sweep = map(
    inspect.unwrap, (largest_components, contour_sweep, sweep)
)

MAP = np.array([[3.0, 0, 0], [0, 2.0, 0], [0, 0, 1.0]])
TRUTH = np.array([[0.0, 0, 2, 2]])
RANKS = np.ones((2, 2), np.int32)

CALLS = {
    "largest_component": lambda map=MAP > 0, **options: largest_component(map, **options),
    "largest_component_box": lambda map=MAP, **options: largest_component_box(map, **options),
    "largest_components": lambda map=MAP, **options: largest_components(
        map[None], np.array([0.5]), **options
    ),
    "threshold_sweep": lambda map=MAP, **options: threshold_sweep(map, [0.5], **options),
    "sweep_best_iou": lambda map=MAP, **options: sweep_best_iou(map, [0.5], TRUTH, **options),
    "sweep": lambda map=RANKS, **options: sweep(map, 1, **options),
}
CHOICES = {
    "connectivity": ("8 or 4|4 or 8", [1, 2, 0, -8, 8.0, np.int64(8), True, "8", None, [8], 2**80]),
    "of": ("'maximum' or 'range'", ["Range", "max", "", None, 1, ["range"], b"range"]),
    "comparison": ("'at_least' or 'above'", ["Above", ">", None, 0, True]),
    "components": ("'largest' or 'all'", ["All", "every", None, 2, True]),
}


OPTIONS_OF = [
    (call, option)
    for call in CALLS
    for option in CHOICES
    if option in inspect.signature(globals()[call]).parameters
]


@pytest.mark.parametrize(("call", "option"), OPTIONS_OF)
def test_an_option_that_is_none_of_its_choices_is_an_error_that_lists_them(call, option):
    choices, wrong = CHOICES[option]
    for value in wrong:
        with pytest.raises(ValueError, match=f"^{option}: expected ({choices}), found ") as error:
            CALLS[call](**{option: value})
        assert len(str(error.value)) < 300


def test_a_wrong_option_is_an_error_for_a_map_without_a_box_too():
    for values in (np.zeros((0, 3)), np.full((2, 2), np.nan), np.zeros((2, 2))):
        for option, (_, [wrong, *_]) in CHOICES.items():
            with pytest.raises(ValueError, match=f"^{option}: "):
                sweep_best_iou(values, [0.5], TRUTH, **{option: wrong})


@pytest.mark.parametrize("option", ["connectivity", "of", "comparison", "component"])
def test_protocols_and_functions_have_the_same_words(option):
    annotation = BoxSection.model_fields[option].annotation
    name = "components" if option == "component" else option
    parameters = inspect.signature(sweep_best_iou).parameters
    assert parameters[name].annotation == annotation


def test_eight_neighbors_are_the_protocols_8_and_four_its_4():
    assert threshold_sweep(MAP, [0.1], connectivity=8).tolist() == [[0, 0, 3, 3]]
    assert threshold_sweep(MAP, [0.1], connectivity=4).tolist() == [[0, 0, 1, 1]]
    assert largest_component_box(MAP, connectivity=8).tolist() == [0, 0, 3, 3]
    assert largest_component(MAP > 0, connectivity=4).tolist() == [0, 0, 1, 1]


WRONG_MAPS = {
    "complex": (MAP + 1j, "real numbers .* found complex128"),
    "masked": (np.ma.masked_less(MAP, 1.0), "without a mask"),
    "object": (MAP.astype(object), "real numbers .* found object"),
    "text": (MAP.astype(str), "real numbers .* found <U"),
    "dates": (MAP.astype("datetime64[s]"), "real numbers .* found datetime64"),
    "record": (np.zeros((2, 2), "f4,f4"), "real numbers"),
    "whole numbers that float64 rounds": (np.array([[2**53 + 1, 2**53]]), r"at most 2\*\*53"),
    "unsigned ones": (np.array([[2**64 - 1, 0]], np.uint64), r"at most 2\*\*53"),
    "ragged": ([[1.0], [1.0, 2.0]], "expected a map as an array"),
    "nothing": (None, "shape"),
    "an object": (object(), "shape"),
    "one row": (MAP[0], r"shape \(h, w\), found shape \(3,\)"),
}
if np.dtype(np.longdouble).itemsize > 8:
    WRONG_MAPS["long double"] = (MAP.astype(np.longdouble), "at most 64 bits")


@pytest.mark.parametrize("call", ["largest_component_box", "threshold_sweep", "sweep_best_iou"])
@pytest.mark.parametrize("kind", WRONG_MAPS)
def test_what_is_no_map_of_real_numbers_is_an_error(call, kind):
    wrong, message = WRONG_MAPS[kind]
    with pytest.raises(ValueError, match=message):
        CALLS[call](wrong)


@pytest.mark.parametrize("wrong", [MAP, np.ma.masked_array(MAP > 0, MAP > 1), [[1, 0]], None])
def test_what_is_no_mask_of_bools_is_an_error(wrong):
    with pytest.raises(ValueError, match="expected"):
        largest_component(wrong)


WRONG_THRESHOLDS = [
    math.inf, -math.inf, math.nan, -0.1, 1.1, True, "0.5", 0.5j, None, object(), [[0.5]], b"1",
    datetime.date(2020, 1, 1), 10**400,
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_THRESHOLDS, ids=lambda value: str(value)[:10])
def test_a_threshold_that_is_no_fraction_is_an_error(wrong):
    for call in (
        lambda: largest_component_box(MAP, threshold=wrong),
        lambda: threshold_sweep(MAP, [wrong]),
        lambda: threshold_sweep(MAP, wrong),
        lambda: sweep_best_iou(MAP, [wrong], TRUTH),
        lambda: contour_sweep(MAP.astype(np.float32), np.array([wrong])),
    ):
        with pytest.raises(
            ValueError, match=r"expected a (list of thresholds|threshold in)"
        ) as error:
            call()
        assert len(str(error.value)) < 300


def test_masked_thresholds_are_an_error():
    with pytest.raises(ValueError, match="thresholds without a mask"):
        threshold_sweep(MAP, np.ma.masked_array([0.5, 0.6], [True, False]))


def test_both_ends_of_the_thresholds_are_fractions():
    boxes = threshold_sweep(MAP, [0, 1, np.float32(0.5)])
    assert boxes.tolist() == [[0, 0, 3, 3], [0, 0, 1, 1], [0, 0, 2, 2]]


@pytest.mark.parametrize(
    "wrong",
    [
        [[0, 0, 2]],
        [0, 0, 2, 2],
        [[[0, 0, 2, 2]]],
        [["0", "0", "2", "2"]],
        [[0, 0, np.nan, 2]],
        [[0, 0, np.inf, 2]],
        [[0, 0, 2, 2j]],
        None,
        np.ma.masked_array([[0, 0, 2, 2]], [[1, 0, 0, 0]]),
    ],
)
def test_what_is_no_list_of_boxes_is_an_error(wrong):
    with pytest.raises(ValueError, match=r"expected .*boxes"):
        sweep_best_iou(MAP, [0.5], wrong)


@pytest.mark.parametrize("wrong", [(0, math.inf), (math.nan, 1), (1, 0), (0,), 1, ("0", "1"), "01"])
def test_extrema_that_are_no_finite_range_are_an_error(wrong):
    with pytest.raises(ValueError, match="extrema"):
        largest_component_box(MAP, extrema=wrong)


def test_a_range_that_overflows_is_an_error_and_not_a_map_without_a_box():
    values = np.array([[-1.7e308, 1.7e308]])
    with pytest.raises(ValueError, match="whose range is finite"):
        largest_component_box(values, of="range")
    with pytest.raises(ValueError, match="whose range is finite"):
        threshold_sweep(values, [0.5], of="range")
    assert largest_component_box(values).tolist() == [1, 0, 2, 1]


@pytest.mark.parametrize(
    ("maps", "levels"),
    [
        (np.ones((1, 2, 2)), np.ones(2)),
        (np.ones((2, 2)), np.ones(2)),
        (np.ones((1, 2, 2), np.int64), np.ones(1)),
        (np.ones((1, 2, 2)), np.ones(1, np.float32)),
        (np.ones((1, 2, 2), complex), np.ones(1)),
    ],
)
def test_maps_and_levels_that_do_not_fit_are_an_error(maps, levels):
    with pytest.raises(ValueError, match=r"^expected maps \(n, h, w\) in float32 or float64"):
        largest_components(maps, levels)


@pytest.mark.parametrize("wrong", [MAP, np.ones((0, 2), np.float32)])
def test_contours_are_taken_of_maps_in_float32_alone(wrong):
    with pytest.raises(ValueError, match="expected a map in float32 with a pixel"):
        contour_sweep(wrong, np.array([0.5]))


def test_contours_are_taken_at_ascending_thresholds():
    with pytest.raises(ValueError, match="in ascending order"):
        contour_sweep(MAP.astype(np.float32), np.array([0.5, 0.1]))


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.text(),
    st.binary(), st.dates(), st.lists(st.floats(), max_size=4),
    st.sampled_from(["Range", "All", 8.0, np.float32(8), MAP, np.ma.masked_array(MAP, MAP > 1)]),
    st.lists(st.lists(st.integers(0, 9) | st.floats(), max_size=4), max_size=4),
)  # fmt: skip
OPTIONS = st.fixed_dictionaries({}, optional={option: ANYTHING for option in CHOICES})


@settings(max_examples=400)
@given(ANYTHING, ANYTHING, ANYTHING, OPTIONS)
def test_whatever_is_given_the_answer_is_boxes_or_one_short_error(map, thresholds, truth, options):
    calls = (
        lambda: sweep_best_iou(map, thresholds, truth, **options),
        lambda: sweep_best_iou(MAP, [0.5], TRUTH, **options),
        lambda: threshold_sweep(map, thresholds),
        lambda: largest_component_box(map, threshold=thresholds, extrema=truth),
        lambda: largest_component_box(MAP, threshold=thresholds),
        lambda: largest_component(map),
    )
    for call in calls:
        try:
            answer = call()
        except ValueError as error:
            assert len(str(error)) < 500
            assert str(error).isprintable()
        else:
            assert answer is None or isinstance(answer, np.ndarray)
