"""Mutants of the kernels' C that compute the same: each listed by hand, with the reason."""

from __future__ import annotations

_BLOCKS = "for (word k0 = 0; k0 < k || k0 == 0; k0 += BLOCK)"
_SUMS = "VEC total[DOT_ROWS * DOT_COLUMNS] = {{0}}, a[DOT_ROWS], b[DOT_COLUMNS];"
_LEAKY = "INLINE REAL FN(leaky_relu)(REAL z, REAL p) { return z > 0 ? z : p * z; }"
_LOW = "const REAL low = DOUBLE ? (REAL)-708 : (REAL)-87, high = DOUBLE ? (REAL)709 : (REAL)88;"
_BAND = "const word band = packs ? BAND * 8 / SIZE : m;"
_FLAGS = "const uint32_t f = 1u << 16, dq = 1u << 17, cd = 1u << 28, bw = 1u << 30, vl = 1u << 31;"
_GELU = "REAL q, scale = FN(power)(x < -80 ? (REAL)-80 : x, &q);"
_AT_ONCE = (
    "enum { FN(TOGETHER) = 64 }; /* outputs whose losses are computed before they are added up, in their order */"
)
_LAST = "VEC s = FN(everywhere)((REAL)(1 / (factorial * (DOUBLE ? 23 : 13))));"
_EACH = "UNROLLED for (int i = 0; i < rows; i++) UNROLLED for (int j = 0; j < columns; j++) \\"
_FREE = "EXPORT void crew_free(struct crew *crew) { free(((char **)(void *)crew)[-1]); }"
_LEVEL = "return (b & (f | dq | cd | bw | vl)) == (f | dq | cd | bw | vl) && (saved & 0xE6) == 0xE6 ? 4 : 3;"
_HARD = "INLINE REAL FN(hard_swish)(REAL z, REAL p) { return z >= 3 ? z : z <= -3 ? (REAL)0 : z * (z + 3) / 6; }"

REASONS: dict[tuple[str, str, str], str] = {
    ("products.c", _BLOCKS, _BLOCKS.replace("k0 < k", "k0 <= k")): "a block of no terms adds nothing",
    ("formulas.h", _HARD, _HARD.replace("z >= 3", "z > 3")): "at 3 both are 3",
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
    ("waves.c", _LAST, _LAST.replace("23", "24")): "in float64: 1e-19 of a sine at most",
    ("plain.c", _LEVEL, _LEVEL.replace(" && ", " || ")): "where the processor and the system know level 4 both are 4",
    ("real.h", _LOW, _LOW.replace("-708", "-707")): "1e-307 in place of 4e-308",
    ("real.h", _LOW, _LOW.replace("709", "710")): "infinite in place of 8e307",
    ("products.c", "else if (left == width)", "else if (0)"): "what is left does the same, register by register",
    ("products.c", _BAND, _BAND.replace("BAND *", "BAND /")): "rows that are multiplied before the next ones are",
    ("products.c", _BAND, _BAND.replace("* 8", "* 7")): "rows that are multiplied before the next ones are",
    ("losses.c", _AT_ONCE, _AT_ONCE.replace("64", "65")): "how many losses are computed at once",
    ("plain.c", _FLAGS, _FLAGS.replace("1u << 30", "1u << 31")): "a processor that has one of both has the other",
    ("real.h", _GELU, _GELU.replace("<", "<=", 1)): "at -80 both are -80",
    ("units.c", "if (factor < 1)", "if (factor <= 1)"): "times 1",
    ("formulas.h", _LEAKY, _LEAKY.replace("z > 0", "z >= 0")): "at 0 both are 0",
    ("plain.c", "enum { TOGETHER = 64 };", "enum { TOGETHER = 63 };"): "how many words are drawn at once",
    ("threads.c", "bell_make(&crew->bell);", ";"): "memory is taken as zeros, as which a condition begins on Linux",
}
"""Of a source, the line before and after: why."""
