"""Mutants of the kernels' C that compute the same: each listed by hand, with the reason."""

from __future__ import annotations

_BLOCKS = "for (word k0 = 0; k0 < k || k0 == 0; k0 += BLOCK)"
_SUMS = "VEC total[DOT_ROWS * DOT_COLUMNS] = {{0}}, a[DOT_ROWS], b[DOT_COLUMNS];"
_LEAKY = "INLINE REAL FN(leaky_relu)(REAL z, REAL p) { return z > 0 ? z : p * z; }"
_LOW = "const REAL low = DOUBLE ? (REAL)-708 : (REAL)-87, high = DOUBLE ? (REAL)709 : (REAL)88;"
_LAST = "s = FN(everywhere)((REAL)(1 / 6227020800.0));"
_EACH = "UNROLLED for (int i = 0; i < rows; i++) UNROLLED for (int j = 0; j < columns; j++) \\"
_FREE = "EXPORT void crew_free(struct crew *crew) { free(((char **)(void *)crew)[-1]); }"
_LEVEL = "return (b & (f | dq | cd | bw | vl)) == (f | dq | cd | bw | vl) && (saved & 0xE6) == 0xE6 ? 4 : 3;"
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
    ("threads.c", _FREE, _FREE.replace("[-1]", "[1]")): "what is freed is zero then: memory is not given back",
    ("rows.c", "if (i + AHEAD < last) \\", "if (i + AHEAD < first) \\"): "memory is asked for ahead, or not",
    ("products.c", _SUMS, _SUMS.replace("b[DOT_COLUMNS]", "b[DOT_COLUMNS + 1]")): "room that nobody uses",
    (
        "products.c",
        _EACH,
        _EACH.replace("i < rows", "i <= rows"),
    ): "writes beside an array of its own: the sanitizers stop there (test_sanitizers, test_kernels.py)",
    (
        "waves.c",
        _LAST,
        _LAST.replace("1 /", "0 /"),
    ): "in float32: 6e-8 of a sine at most, half a unit of the last digit",
    ("plain.c", _LEVEL, _LEVEL.replace(" && ", " || ")): "where the processor and the system know level 4 both are 4",
    ("real.h", _LOW, _LOW.replace("-708", "-707")): "1e-307 in place of 4e-308",
    ("formulas.h", _LEAKY, _LEAKY.replace("z > 0", "z >= 0")): "at 0 both are 0",
    ("products.c", "if (last > first)", "if (last >= first)"): "of no rows nothing is read or written",
    ("plain.c", "enum { TOGETHER = 64 };", "enum { TOGETHER = 63 };"): "how many words are drawn at once",
    ("threads.c", "bell_make(&crew->bell);", ";"): "memory is taken as zeros, as which a condition begins on Linux",
}
"""Of a source, the line before and after: why."""
