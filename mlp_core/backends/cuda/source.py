"""The fused kernels as CUDA C++: loops of their own around the formulas that the CPU's kernels have, too.

`REAL` is float or double. A kernel is a loop over independent elements, so it gives the same numbers for any number of
threads; what is summed over rows is summed in an order that the sizes alone decide. A number that changes from step to
step comes as an argument or, for a step that is written down once and carried out often, from where it is `given` on
the device: a pointer that is null where the argument counts.
"""

from __future__ import annotations

import re
from pathlib import Path

from mlp_core.backends.numbers import RULE_NUMBERS
from mlp_core.nn.optimizers import OPTIMIZERS

FORMULAS = (Path(__file__).parents[1] / "formulas.h").read_text()
ACTIVATIONS = tuple(re.findall(r"REAL FN\((\w+)\)\(REAL z, REAL p\)", FORMULAS))
LOSSES = tuple(re.findall(r"REAL FN\((\w+)_loss\)\(REAL z, REAL y, REAL p\)", FORMULAS))
SUMMED = ("quadratic",)  # over the outputs of a row; other losses are means
RULES = tuple(re.findall(r"void FN\((\w+)\)\(REAL \*x,", FORMULAS))

PREAMBLE = (
    """
typedef long long Int;
typedef unsigned long long Word;
typedef unsigned int Count;
typedef unsigned short Bits;
typedef unsigned char Byte;

#define FIRST (blockIdx.x * (Int)blockDim.x + threadIdx.x)
#define EACH(i, count) (Int i = FIRST; i < (count); i += gridDim.x * (Int)blockDim.x)
#define INLINE inline __device__
#define FN(name) f_##name
#define SQRT sqrt
#define ABS fabs
#define EXP exp
#define EXPM1 expm1
#define LOG1P log1p
#define TANH tanh
#define SIN sin
#define COS cos
#define PHI(z) ((REAL)0.5 * erfc((z) * (REAL)-0.70710678118654752440))
"""
    + FORMULAS
    + """
/* i / n and i % n, by way of 32 bits where they suffice: a GPU divides those ten times faster. */
inline __device__ Int over(Int i, Int n) { return (i | n) >> 32 ? i / n : (Int)((Count)i / (Count)n); }
inline __device__ Int rest(Int i, Int n) { return (i | n) >> 32 ? i % n : (Int)((Count)i % (Count)n); }

/* Whether this thread is the last of `members` to come by; it sees what the others wrote before they did, and leaves
   the counter at zero. Who is last changes nothing: the last one adds up what all wrote, in order of place. */
inline __device__ bool last_of(Count *counter, Count members) {
    __threadfence();
    if (atomicAdd(counter, 1u) + 1 != members) return false;
    *counter = 0;
    __threadfence();
    return true;
}

/* The sum of one value from each of `count` threads, thread i's at place i: 32 by 32, and those sums 32 by 32. True for
   the one thread that has the sum. `room` takes 2 count + 8 numbers, `counters` count / 16 + 8. */
inline __device__ bool sum_of(double value, Int i, Int count, double *room, Count *counters, double *sum) {
    while (count > 1) {
        Int group = i / 32, groups = (count + 31) / 32, first = group * 32;
        Int members = count - first < 32 ? count - first : 32;
        room[i] = value;
        if (!last_of(counters + group, (Count)members)) return false;
        value = 0;
        for (Int k = 0; k < members; k++) value += __ldcg(room + first + k);
        room += count;
        counters += groups;
        i = group;
        count = groups;
    }
    *sum = value;
    return true;
}
"""
)

_FORWARD = """
extern "C" __global__ void forward_NAME(REAL *Z, const REAL *b, REAL *A, Int size, Int columns, Int biased, REAL p) {
    for EACH(i, size) {
        REAL z = biased ? Z[i] + b[rest(i, columns)] : Z[i];
        Z[i] = z;
        A[i] = FN(NAME)(z, p);
    }
}
"""

_GRADIENT = """
/* Delta *= f', and db its column sums: a thread goes down one of `parts` parts of a column, the last one of a column
   adds the parts up. */
extern "C" __global__ void gradient_NAME(REAL *Delta, const REAL *Z, const REAL *A, REAL *db, REAL *room,
                                         Count *counters, Int rows, Int columns, Int parts, Int summed, REAL p) {
    for EACH(i, parts * columns) {
        Int part = over(i, columns), j = rest(i, columns), length = (rows + parts - 1) / parts;
        Int end = (part + 1) * length < rows ? (part + 1) * length : rows;
        REAL sum = 0;
        for (Int r = part * length; r < end; r++) {
            REAL d = Delta[r * columns + j] * FN(NAME_slope)(Z[r * columns + j], A[r * columns + j], p);
            Delta[r * columns + j] = d;
            sum += d;
        }
        if (!summed) continue;
        room[i] = sum;
        if (!last_of(counters + j, (Count)parts)) continue;
        sum = 0;
        for (Int k = 0; k < parts; k++) sum += __ldcg(room + k * columns + j);
        db[j] = sum;
    }
}
"""

_RULE = """
extern "C" __global__ void NAME(REAL *theta, const REAL *grad, POINTERSInt size, const double *given,
                                PARAMETERS) {
    REAL n[] = {NUMBERS};
    for (int k = 0; given && k < COUNT; k++) n[k] = (REAL)given[k];
    for EACH(i, size) {
        REAL x = theta[i], none = 0, *s[] = {&none, &none, &none};
        LOADS
        FN(NAME)(&x, grad[i], s[0], s[1], s[2], n);
        STORES
        theta[i] = x;
    }
}
"""

_CROSS_ENTROPY = """
extern "C" __global__ void cross_entropy(const REAL *Z, const Int *Y, const REAL *w, REAL *losses, REAL *Delta,
                                         Int rows, Int classes, Int weighted, Int differentiated, REAL total,
                                         REAL smoothing, const double *given) {
    if (given) total = (REAL)*given;
    for EACH(i, rows) {
        const REAL *z = Z + i * classes;
        Int y = Y[i];
        REAL top = z[0], mean = 0, sum = 0, weight = weighted ? w[i] : 1;
        for (Int k = 1; k < classes; k++) top = z[k] > top ? z[k] : top;
        for (Int k = 0; k < classes; k++) {
            sum += exp(z[k] - top);
            mean += z[k];
        }
        REAL chosen = y >= 0 && y < classes ? z[y] : sqrt((REAL)-1); /* no class: not a number */
        losses[i] = weight * (log(sum) + top - (1 - smoothing) * chosen - smoothing * (mean / classes));
        if (!differentiated) continue;
        REAL factor = weight / total;
        for (Int k = 0; k < classes; k++) {
            REAL part = exp(z[k] - top) / sum - smoothing / classes;
            Delta[i * classes + k] = (part - (k == y ? 1 - smoothing : 0)) * factor;
        }
    }
}
"""

_OUTPUTS = """
extern "C" __global__ void loss_NAME(const REAL *Z, const REAL *Y, const REAL *w, REAL *losses, REAL *Delta, Int rows,
                                     Int outputs, Int weighted, Int differentiated, REAL total, REAL p,
                                     const double *given) {
    if (given) total = (REAL)*given;
    for EACH(i, rows) {
        REAL weight = (weighted ? w[i] : 1) / SHARES, factor = weight / total, sum = 0;
        for (Int k = i * outputs; k < (i + 1) * outputs; k++) {
            sum += FN(NAME_loss)(Z[k], Y[k], p);
            if (differentiated) Delta[k] = FN(NAME_loss_slope)(Z[k], Y[k], p) * factor;
        }
        losses[i] = weight * sum;
    }
}
"""

_SUMS = """
/* The losses of all rows over their weight, into place `given_slot` of the ledger, or its first. */
extern "C" __global__ void mean_loss(const REAL *losses, double *ledger, double *room, Count *counters, Int rows,
                                     Int count, double total, const double *given_total, const double *given_slot) {
    for EACH(i, count) {
        double value = 0, sum;
        for (Int r = i; r < rows; r += count) value += losses[r];
        if (!sum_of(value, i, count, room, counters, &sum)) continue;
        ledger[given_slot ? (Int)*given_slot : 0] = sum / (given_total ? *given_total : total);
    }
}

/* l2 / 2 sum(x^2) + l1 sum(|x|) added to a loss, and its derivative to the gradient. */
extern "C" __global__ void penalty(const REAL *theta, REAL *grad, double *ledger, double *room, Count *counters,
                                   Int size, Int count, double l2, double l1, const double *given_slot) {
    for EACH(i, count) {
        double value = 0, sum;
        for (Int k = i; k < size; k += count) {
            REAL x = theta[k], sign = x > 0 ? 1 : x < 0 ? -1 : x;
            grad[k] += (REAL)l2 * x + (REAL)l1 * sign;
            value += (0.5 * l2 * x + l1 * sign) * x;
        }
        if (sum_of(value, i, count, room, counters, &sum)) ledger[given_slot ? (Int)*given_slot : 0] += sum;
    }
}

/* Rows cut to length `longest` where they are longer. */
extern "C" __global__ void shorten_rows(REAL *W, Int rows, Int columns, REAL longest) {
    for EACH(r, rows) {
        REAL square = 0;
        for (Int j = r * columns; j < (r + 1) * columns; j++) square += W[j] * W[j];
        REAL length = sqrt(square), ratio = longest / (length < (REAL)1e-30 ? (REAL)1e-30 : length);
        if (ratio >= 1) continue;
        for (Int j = r * columns; j < (r + 1) * columns; j++) W[j] *= ratio;
    }
}

extern "C" __global__ void square_sum(const REAL *x, double *sum, double *room, Count *counters, Int size, Int count) {
    for EACH(i, count) {
        double value = 0, all;
        for (Int k = i; k < size; k += count) value += (double)x[k] * x[k];
        if (sum_of(value, i, count, room, counters, &all)) *sum = all;
    }
}

/* A vector of length sqrt(square), cut to length `longest` where it is longer; not a number where that is none. */
extern "C" __global__ void shorten(REAL *x, const double *square, Int size, double longest) {
    double length = sqrt(*square), ratio = longest / (length < 1e-300 ? 1e-300 : length);
    REAL factor = ratio >= 1 ? (REAL)1 : (REAL)ratio;
    for EACH(i, size) x[i] *= factor;
}
"""

_ELEMENTWISE = """
extern "C" __global__ void hadamard(const REAL *X, const REAL *M, REAL *out, Int size) {
    for EACH(i, size) out[i] = X[i] * M[i];
}

extern "C" __global__ void plus(const REAL *X, const REAL *Y, REAL *out, Int size) {
    for EACH(i, size) out[i] = X[i] + Y[i];
}

extern "C" __global__ void duplicate(const REAL *X, REAL *out, Int size) {
    for EACH(i, size) out[i] = X[i];
}

extern "C" __global__ void clip_value(REAL *x, Int size, REAL largest) {
    for EACH(i, size) x[i] = x[i] > largest ? largest : x[i] < -largest ? -largest : x[i];
}

extern "C" __global__ void follow(REAL *average, const REAL *theta, Int size, REAL share, const double *given) {
    if (given) share = (REAL)*given;
    for EACH(i, size) average[i] += share * (theta[i] - average[i]);
}

/* The rows of each code, summed in their order by the thread of the first of them: no atomics, so always alike. */
extern "C" __global__ void add_rows(REAL *table, const Int *codes, const REAL *X, Int rows, Int columns, Int distance) {
    for EACH(i, rows * columns) {
        Int r = over(i, columns), j = rest(i, columns), code = codes[r], q = 0;
        while (q < r && codes[q] != code) q++;
        if (q < r) continue;
        REAL sum = 0;
        for (; q < rows; q++) sum += codes[q] == code ? X[q * distance + j] : 0;
        table[code * columns + j] = sum;
    }
}

/* The nearest bfloat16, to even where two are as near: the upper half of a float's bits. */
extern "C" __global__ void narrow(const REAL *X, Bits *out, Int size, Int columns, Int distance) {
    for EACH(i, size) {
        union { float number; Count bits; } x;
        x.number = (float)X[over(i, columns) * distance + rest(i, columns)];
        Count up = 0x7FFFu + ((x.bits >> 16) & 1u);
        out[i] = (Bits)((x.number != x.number ? x.bits | 0x400000u : x.bits + up) >> 16);
    }
}
"""

_NORMS = """
extern "C" __global__ void column_mean(const REAL *X, REAL *mean, REAL *room, Count *counters, Int rows, Int columns,
                                       Int parts) {
    for EACH(i, parts * columns) {
        Int part = over(i, columns), j = rest(i, columns), length = (rows + parts - 1) / parts;
        Int end = (part + 1) * length < rows ? (part + 1) * length : rows;
        REAL sum = 0;
        for (Int r = part * length; r < end; r++) sum += X[r * columns + j];
        room[i] = sum;
        if (!last_of(counters + j, (Count)parts)) continue;
        sum = 0;
        for (Int k = 0; k < parts; k++) sum += __ldcg(room + k * columns + j);
        mean[j] = sum / rows;
    }
}

extern "C" __global__ void column_spread(const REAL *X, const REAL *mean, REAL *H, REAL *inverse, REAL *running_mean,
                                         REAL *running_var, REAL *room, Count *counters, Int rows, Int columns,
                                         Int parts, Int record, REAL eps, REAL momentum, REAL unbiased) {
    for EACH(i, parts * columns) {
        Int part = over(i, columns), j = rest(i, columns), length = (rows + parts - 1) / parts;
        Int end = (part + 1) * length < rows ? (part + 1) * length : rows;
        REAL sum = 0, middle = mean[j];
        for (Int r = part * length; r < end; r++) {
            REAL h = X[r * columns + j] - middle;
            H[r * columns + j] = h;
            sum += h * h;
        }
        room[i] = sum;
        if (!last_of(counters + j, (Count)parts)) continue;
        sum = 0;
        for (Int k = 0; k < parts; k++) sum += __ldcg(room + k * columns + j);
        sum /= rows;
        inverse[j] = 1 / sqrt(sum + eps);
        if (!record) continue;
        running_mean[j] += momentum * (middle - running_mean[j]);
        running_var[j] += momentum * (sum * unbiased - running_var[j]);
    }
}

extern "C" __global__ void row_spread(const REAL *X, REAL *H, REAL *inverse, Int rows, Int columns, Int centred,
                                      REAL eps) {
    for EACH(r, rows) {
        REAL mean = 0, sum = 0;
        if (centred) {
            for (Int j = r * columns; j < (r + 1) * columns; j++) mean += X[j];
            mean /= columns;
        }
        for (Int j = r * columns; j < (r + 1) * columns; j++) {
            REAL h = X[j] - mean;
            H[j] = h;
            sum += h * h;
        }
        inverse[r] = 1 / sqrt(sum / columns + eps);
    }
}

extern "C" __global__ void normalized(REAL *H, const REAL *inverse, const REAL *gain, const REAL *shift, REAL *A,
                                      Int size, Int columns, Int by_row, Int centred) {
    for EACH(i, size) {
        Int j = rest(i, columns);
        REAL h = H[i] * inverse[by_row ? over(i, columns) : j], a = h * gain[j];
        H[i] = h;
        A[i] = centred ? a + shift[j] : a;
    }
}

extern "C" __global__ void norm_sums(const REAL *Delta, const REAL *H, REAL *dgain, REAL *dshift, REAL *room,
                                     Count *counters, Int rows, Int columns, Int parts, Int centred) {
    for EACH(i, parts * columns) {
        Int part = over(i, columns), j = rest(i, columns), length = (rows + parts - 1) / parts;
        Int end = (part + 1) * length < rows ? (part + 1) * length : rows;
        REAL along = 0, sum = 0, *other = room + parts * columns;
        for (Int r = part * length; r < end; r++) {
            along += Delta[r * columns + j] * H[r * columns + j];
            sum += Delta[r * columns + j];
        }
        room[i] = along;
        other[i] = sum;
        if (!last_of(counters + j, (Count)parts)) continue;
        along = sum = 0;
        for (Int k = 0; k < parts; k++) {
            along += __ldcg(room + k * columns + j);
            sum += __ldcg(other + k * columns + j);
        }
        dgain[j] = along;
        if (centred) dshift[j] = sum;
    }
}

/* The variance of a column depends on all its rows, and so does the mean. */
extern "C" __global__ void norm_columns(REAL *Delta, const REAL *H, const REAL *gain, const REAL *inverse,
                                        const REAL *dgain, const REAL *dshift, Int size, Int rows, Int columns) {
    for EACH(i, size) {
        Int j = rest(i, columns);
        Delta[i] = (Delta[i] - dshift[j] / rows - H[i] * (dgain[j] / rows)) * gain[j] * inverse[j];
    }
}

extern "C" __global__ void norm_rows(REAL *Delta, const REAL *H, const REAL *gain, const REAL *inverse, Int rows,
                                     Int columns, Int centred) {
    for EACH(r, rows) {
        REAL along = 0, sum = 0;
        for (Int j = 0; j < columns; j++) {
            REAL d = Delta[r * columns + j] * gain[j];
            along += d * H[r * columns + j];
            sum += d;
        }
        along /= columns;
        sum = centred ? sum / columns : 0;
        for (Int j = 0; j < columns; j++) {
            Int i = r * columns + j;
            Delta[i] = (Delta[i] * gain[j] - sum - H[i] * along) * inverse[r];
        }
    }
}

extern "C" __global__ void left_columns(const REAL *X, REAL *A, Int size, Int columns, Int from, Int to) {
    for EACH(i, size) A[over(i, columns) * to + rest(i, columns)] = X[over(i, columns) * from + rest(i, columns)];
}

extern "C" __global__ void look_up(const REAL *X, const REAL *E, Int *codes, REAL *A, Int rows, Int words, Int dim,
                                   Int inputs, Int place, Int units, Int start) {
    for EACH(i, rows * dim) {
        Int r = over(i, dim), j = rest(i, dim);
        REAL x = rint(X[r * inputs + place]);
        Int code = x > 0 ? x < words ? (Int)x : words - 1 : 0;
        if (j == 0) codes[r] = code;
        A[r * units + start + j] = E[code * dim + j];
    }
}

extern "C" __global__ void clear(REAL *x, Int size) {
    for EACH(i, size) x[i] = 0;
}

extern "C" __global__ void prelu(const REAL *Z, const REAL *slope, REAL *A, Int size) {
    for EACH(i, size) A[i] = Z[i] > 0 ? Z[i] : Z[i] * *slope;
}

extern "C" __global__ void prelu_gradient(REAL *Delta, const REAL *Z, const REAL *slope, REAL *da, double *room,
                                          Count *counters, Int size, Int count) {
    for EACH(i, count) {
        double value = 0, sum;
        for (Int k = i; k < size; k += count) {
            if (Z[k] > 0) continue;
            value += (double)Delta[k] * Z[k];
            Delta[k] *= *slope;
        }
        if (sum_of(value, i, count, room, counters, &sum)) *da = (REAL)sum;
    }
}
"""

_GATHER = """
extern "C" __global__ void gather_TYPE(const TYPE *X, const Int *rows, TYPE *out, Int size, Int columns, Int first,
                                       const double *given) {
    if (given) first = (Int)*given;
    for EACH(i, size) out[i] = X[rows[first + over(i, columns)] * columns + rest(i, columns)];
}
"""

_SCALE = """
/* Rows as stored, scaled as on the host: in double, then rounded. */
extern "C" __global__ void scaled_TYPE(const TYPE *X, const Int *rows, const double *shift, const double *scale,
                                       REAL *out, Int size, Int columns, Int first, const double *given) {
    if (given) first = (Int)*given;
    for EACH(i, size) {
        Int j = rest(i, columns);
        out[i] = (REAL)(((double)X[rows[first + over(i, columns)] * columns + j] - shift[j]) * scale[j]);
    }
}
"""

_DROPOUT = """
/* Philox4x64-10 (Salmon et al., SC 2011); numpy counts up before each block of four words, and takes two float32 from
   a word, the lower half first: the same masks as numpy's, bit for bit. One thread per block of eight entries. */
extern "C" __global__ void dropout_mask(REAL *mask, Int size, Word key0, Word key1, Word step, Word layer, float p,
                                        REAL scale, const double *given) {
    if (given) step = (Word)*given;
    for EACH(block, (size + 7) / 8) {
        Word c0 = block + 1, c1 = step, c2 = layer, c3 = 0, k0 = key0, k1 = key1;
        for (int round = 0; round < 10; round++) {
            Word high0 = __umul64hi(0xD2E7470EE14C6C93ull, c0), low0 = 0xD2E7470EE14C6C93ull * c0;
            Word high1 = __umul64hi(0xCA5A826395121157ull, c2), low1 = 0xCA5A826395121157ull * c2;
            c0 = high1 ^ c1 ^ k0;
            c1 = low1;
            c2 = high0 ^ c3 ^ k1;
            c3 = low0;
            k0 += 0x9E3779B97F4A7C15ull;
            k1 += 0xBB67AE8584CAA73Bull;
        }
        Word words[4] = {c0, c1, c2, c3};
        for (int j = 0; j < 8 && block * 8 + j < size; j++) {
            unsigned int half = (unsigned int)(words[j / 2] >> (j % 2 ? 32 : 0));
            mask[block * 8 + j] = (half >> 8) * (1.0f / 16777216.0f) >= p ? scale : (REAL)0;
        }
    }
}
"""


def kernels() -> dict[str, str]:
    """The source of every kernel by its name, without what they share."""
    found = {name: _rule(name) for name in RULES}
    for name in ACTIVATIONS:
        found |= {
            f"forward_{name}": _FORWARD.replace("NAME", name),
            f"gradient_{name}": _GRADIENT.replace("NAME", name),
        }
    for name in LOSSES:
        shares = "1" if name in SUMMED else "outputs"
        found[f"loss_{name}"] = _OUTPUTS.replace("NAME", name).replace("SHARES", shares)
    found |= {f"gather_{kind}": _GATHER.replace("TYPE", kind) for kind in ("float", "double", "Int")}
    found |= {f"scaled_{kind}": _SCALE.replace("TYPE", kind) for kind in ("Byte", "float", "double")}
    found |= {"cross_entropy": _CROSS_ENTROPY, "dropout_mask": _DROPOUT}
    for text in (_SUMS, _ELEMENTWISE, _NORMS):
        for part in text.split('extern "C" __global__ void ')[1:]:
            found[part.partition("(")[0]] = f'\nextern "C" __global__ void {part.partition("/*")[0]}'
    return found


def source(*names: str) -> str:
    """What is to be compiled, with REAL defined, to have these kernels; all of them if none is named."""
    found = kernels()
    return PREAMBLE + "".join(found[name] for name in names or found)


def parameters(name: str) -> list[tuple[str, bool, bool]]:
    """Type, whether a pointer, and whether what it points to is only read, of every parameter of a kernel."""
    listed = kernels()[name].partition(f"__global__ void {name}(")[2].partition(")")[0]
    result = []
    for parameter in listed.split(","):
        words = parameter.replace("*", " * ").split()
        result.append((next(word for word in words if word != "const"), "*" in words, "const" in words))
    return result


def _rule(name: str) -> str:
    slots = next(kind.slots for kind in OPTIMIZERS.values() if kind.rule.__name__ == name)
    numbers = [f"n{k}" for k in range(RULE_NUMBERS)]
    replaced = {
        "NAME": name,
        "POINTERS": "".join(f"REAL *{slot}, " for slot in slots),
        "PARAMETERS": ", ".join(f"REAL {number}" for number in numbers),
        "NUMBERS": ", ".join(numbers),
        "COUNT": str(RULE_NUMBERS),
        "LOADS": " ".join(f"REAL here_{slot} = {slot}[i]; s[{k}] = &here_{slot};" for k, slot in enumerate(slots)),
        "STORES": " ".join(f"{slot}[i] = here_{slot};" for slot in slots),
    }
    text = _RULE
    for word, meaning in replaced.items():
        text = text.replace(word, meaning)
    return text
