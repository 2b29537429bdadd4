"""Small maps with the truth of their pixels, for the metrics of one map against one mask."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

# Few values tie often; any_values has float32 numbers of all magnitudes, and both zeros.
few_values = st.sampled_from([-2.0, -0.5, -0.0, 0.0, 0.25, 1.0, 3.0])
any_values = st.floats(width=32, allow_nan=False, allow_infinity=False)


def scored(*, max_side=5, labels=(0, 1, 255)):
    """Pairs of values and truth."""
    return array_shapes(min_dims=2, max_dims=2, max_side=max_side).flatmap(
        lambda shape: st.tuples(
            st.one_of(
                arrays(np.float32, shape, elements=few_values),
                arrays(np.float32, shape, elements=any_values),
            ),
            arrays(np.uint8, shape, elements=st.sampled_from(labels)),
        )
    )


def ranked(values):
    """A strictly increasing transform of the values, which ends in 1."""
    distinct, ranks = np.unique(values, return_inverse=True)
    return ((ranks.reshape(values.shape) + 1) / len(distinct)).astype(np.float32)


def framed(values, truth):
    """The same map in a frame of ignored pixels, higher and lower than all others."""
    around = np.pad(values, 3, constant_values=np.float32(3e38))
    around[:, 0] = np.float32(-3e38)
    return around, np.pad(truth, 3, constant_values=255)
