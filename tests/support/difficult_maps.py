"""Maps whose connected components are hard to find, by name, and strategies that draw any map."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


def drawn(*lines):
    return np.array([[character == "#" for character in line] for line in lines])


def spiral(size):
    """A path one pixel wide from the corner to the center; each pixel holds its step's number."""
    steps = np.zeros((size, size))
    y, x, turn, step = 0, 0, 0, 1
    moves = [(0, 1), (1, 0), (0, -1), (-1, 0)]

    def is_free(y, x):
        return 0 <= y < size and 0 <= x < size and steps[y, x] == 0

    while True:
        steps[y, x] = step
        step += 1
        for _ in range(2):
            dy, dx = moves[turn % 4]
            # Stop before the path touches itself.
            if is_free(y + dy, x + dx) and (
                not (0 <= y + 2 * dy < size and 0 <= x + 2 * dx < size)
                or is_free(y + 2 * dy, x + 2 * dx)
            ):
                break
            turn += 1
        else:
            return steps
        y, x = y + dy, x + dx


def rings(size):
    """Square rings around the center, every other one present, as their distance to the edge."""
    y, x = np.indices((size, size))
    depth = np.minimum.reduce([y, x, size - 1 - y, size - 1 - x]) + 1.0
    return np.where(depth % 2 == 1, depth, 0)


def comb(height, width, *, spine=0.1):
    """Teeth of different heights that only the spine connects, last."""
    values = np.zeros((height, width))
    values[:-1, ::2] = 0.3 + 0.7 * np.linspace(1, 0, (width + 1) // 2)
    values[-1] = spine
    return values


def shapes():
    random = np.random.default_rng(7)
    y, x = np.indices((13, 17))
    checkers = (y + x) % 2
    yield "checkerboard", checkers.astype(np.float32)
    yield "checkerboard of all values", checkers * random.permutation(221).reshape(13, 17)
    yield "checkerboard, then its other color", checkers + 0.5 * random.random((13, 17))
    yield "lattice of points", ((y % 2 == 0) & (x % 2 == 0)) * 1.0
    yield "lattice of lines", np.maximum(y % 2 == 0, x % 2 == 0) * (1.0 + y * x)
    yield "diagonals", ((y + x) % 4 == 0) * (1.0 + x)
    yield "spiral inward", spiral(15)
    yield "spiral outward", np.where(spiral(15) > 0, 200 - spiral(15), 0)
    yield "spiral of random values", (spiral(15) > 0) * random.random((15, 15))
    yield "rings in rings, outermost first", rings(17).max() + 1 - rings(17)
    yield "rings in rings, innermost first", rings(17)
    yield "rings in rings of random values", (rings(17) > 0) * random.random((17, 17))
    yield "comb", comb(9, 21)
    yield "comb upside down", comb(9, 21)[::-1].copy()
    yield "two combs, tooth in gap", np.maximum(comb(9, 21), 0.9 * np.roll(comb(9, 21)[::-1], 1, 1))
    yield "ramp", x.astype(np.float16)
    yield "ramp downward", -1.0 * x
    yield "bowl", np.hypot(y - 6, x - 8)
    yield "hill", -np.hypot(y - 6, x - 8) + 3
    yield "constant", np.full((4, 6), 0.3)
    yield "constant and negative", np.full((4, 6), -0.3)
    yield "zeros", np.zeros((4, 6))
    yield "negative zeros", np.copysign(np.zeros((4, 6)), -1)
    yield "negative", -1 - random.random((5, 5))
    yield "one pixel", np.array([[2.0]])
    yield "one negative pixel", np.array([[-2.0]])
    yield "one row", random.integers(0, 5, (1, 40)).astype(np.int16)
    yield "one column", random.integers(0, 5, (40, 1)).astype(np.uint8)
    yield "denormal", np.array([[5e-324, 1e-323, 0.0], [1.5e-323, 0.0, 5e-324]])
    yield "denormal beside one", np.array([[5e-324, 1.0, -5e-324], [0.0, 0.0, 1e-310]])
    yield "denormal float32", np.array([[1e-45, 3e-45, 0.0, 1e-38]], np.float32)
    yield "huge", random.normal(size=(6, 7)) * 1e300
    yield "huge and tiny", np.array([[1e300, 1e-300, -1e300, 0.0, 1e299]])
    yield "large float16", np.array([[65504, 60000, -65504, 6e-8]], np.float16)
    yield "bool", drawn("#.#", ".#.", "..#")
    yield "int64", random.integers(-(2**53), 2**53, (7, 7))
    yield "uint8", random.integers(0, 256, (9, 9)).astype(np.uint8)
    yield "int8", random.integers(-128, 128, (9, 9)).astype(np.int8)
    yield "in columns", np.asfortranarray(random.random((9, 5)))
    yield "every other pixel of a larger one", random.random((18, 10))[::2, ::2]
    yield "a value that is not a number", np.array([[1.0, np.nan], [0.5, 0.2]])
    yield "all not a number", np.full((3, 3), np.nan)
    yield "infinite", np.array([[1.0, np.inf], [0.5, 0.2]])
    yield "infinite downward", np.array([[1.0, -np.inf], [0.5, 0.2]], np.float32)
    yield "empty", np.empty((0, 0))
    yield "no rows", np.empty((0, 7))
    yield "no columns", np.empty((7, 0), np.float32)


SHAPES = dict(shapes())
GRID = [0.0, 1.0, 0.5, 0.15, 0.15, 0.999, 0.05, *np.linspace(0, 1, 23).tolist(), 0.2, 1.0, 0.0]


elements = st.one_of(
    st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.75, 1.0]),
    st.floats(-2, 2, width=16),
)
anything = st.one_of(
    elements,
    st.floats(-1e300, 1e300),
    st.sampled_from([5e-324, -5e-324, 1e300, 0.15, np.nextafter(0.15, 1), np.nextafter(0.15, 0)]),
)
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
maps = st.one_of(
    arrays(np.float16, sizes, elements=elements),
    arrays(np.float32, sizes, elements=elements, fill=st.nothing()),
    arrays(np.float64, sizes, elements=anything),
    arrays(st.sampled_from([np.int8, np.uint8, np.int32]), sizes, elements=st.integers(0, 6)),
    arrays(np.int64, sizes, elements=st.integers(-(2**53), 2**53)),
)
fractions = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0, 0.15, 0.25, 0.5, 0.75]), st.floats(0, 1)), max_size=9
)
