"""A parcel: values as JSON has them, with arrays among them, as what can be sent. Nothing in one is executed.

>>> text, arrays = packed({"loss": 0.5, "P": np.ones((2, 3))})
>>> unpacked(text, [array.view(np.uint8) for array in arrays])["P"].shape
(2, 3)
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

ARRAY = "array of"
"""The key under which the type and shape of an array stand in its place."""


def packed(value: Any) -> tuple[bytes, list[np.ndarray]]:
    """The text of a value, and its arrays [...] in the order of the text."""
    arrays: list[np.ndarray] = []

    def spelled(one: Any) -> Any:
        if isinstance(one, np.ndarray):
            arrays.append(np.ascontiguousarray(one))
            return {ARRAY: [one.dtype.str, list(one.shape)]}
        return one.item()  # a number of numpy's

    text = json.dumps(value, default=spelled).encode()
    return text, arrays


def lengths(text: bytes) -> list[int]:
    """How many bytes each array takes whose place is in a text."""
    found: list[int] = []

    def found_one(dtype: np.dtype[Any], shape: Sequence[int]) -> None:
        found.append(dtype.itemsize * math.prod(shape))

    _read(text, found_one)
    return found


def unpacked(text: bytes, pieces: Sequence[np.ndarray]) -> Any:
    """The value, over the bytes [length] of its arrays, which are not copied."""
    rest = iter(pieces)
    return _read(text, lambda dtype, shape: next(rest).view(dtype).reshape(shape))


def _read(text: bytes, array: Callable[[np.dtype[Any], Sequence[int]], Any]) -> Any:
    """The value of a text with what `array` makes of type and shape in the place of each array, in their order."""

    def made(one: dict[str, Any]) -> Any:
        if ARRAY not in one:
            return one
        dtype, shape = one[ARRAY]
        return array(np.dtype(dtype), shape)

    return json.loads(text, object_hook=made)
