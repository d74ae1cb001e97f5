"""What was sent as JSON: numbers that nothing of ours can hold are refused where they are read."""

from __future__ import annotations

import pytest

from mlp_core.documents import parsed


@pytest.mark.parametrize("number", [0, -(2**63), 2**63 - 1, 2**64 - 1])
def test_numbers_of_64_bits_are_read(number: int) -> None:
    assert parsed(f'{{"n": [{number}]}}') == {"n": [number]}


@pytest.mark.parametrize("text", ["1" + "0" * 20, "-" + "9" * 400, '{"n": [1' + "0" * 4200 + "]}"])
def test_longer_ones_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a whole number of"):
        parsed(text)
