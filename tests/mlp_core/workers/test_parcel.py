"""What is sent between workers: values and arrays, the same on both sides."""

from __future__ import annotations

import numpy as np
import pytest

from mlp_core.workers.parcel import lengths, packed, unpacked


@pytest.mark.parametrize(
    "value",
    [
        None,
        0.1,
        float("inf"),
        ["\udcff", "a\x00b", {"k": [True, 3]}],
        np.arange(6, dtype=np.int8).reshape(2, 3)[:, ::2],
        {"X": np.ones((2, 0, 3), np.float32), "y": [np.float32(0.5), np.int64(7)], "e": np.array(2.5)},
        [np.array(["ab", "c"]), np.array([True, False])],
    ],
)
def test_a_parcel_holds_what_was_put_into_it(value):
    text, arrays = packed(value)
    assert lengths(text) == [array.nbytes for array in arrays]
    found = unpacked(text, [np.frombuffer(array.tobytes(), np.uint8) for array in arrays])
    np.testing.assert_equal(found, value)
    np.testing.assert_equal(packed(found)[0], text, "types are kept, too")


def test_nothing_else_can_be_put_into_it():
    with pytest.raises(AttributeError):
        packed({"what": object()})
