"""Mutants of the kernels' C that compute the same: each listed by hand, with the reason."""

from __future__ import annotations

_BLOCKS = "for (word k0 = 0; k0 < k || k0 == 0; k0 += BLOCK)"
_HARD = "return z >= 3 ? z : z <= -3 ? (REAL)0 : z * (z + 3) / 6;"

REASONS: dict[tuple[str, str, str], str] = {
    ("products.c", _BLOCKS, _BLOCKS.replace("k0 < k", "k0 <= k")): "a block of no terms adds nothing",
    ("formulas.h", _HARD, _HARD.replace("z >= 3", "z > 3")): "at 3 both are 3",
    ("real.h", "s = FMA(s, r, (REAL)(1.0 / 362880));", "s = FMA(s, r, (REAL)(1.0 / 362879));"): (
        "r is 0.35 at most: 6e-16 of the result, which is rounding's"
    ),
    (
        "threads.c",
        "((char **)(void *)place)[-1] = memory;",
        ";",
    ): "what is freed is zero then: memory is not given back",
    ("threads.c", "bell_make(&crew->bell);", ";"): "memory is taken as zeros, as which a condition begins on Linux",
}
"""Of a source, the line before and after: why."""
