"""The fused kernels as CUDA C++: one formula per line, each the one of the engine's generic primitives.

`REAL` is float or double. Every kernel is a loop over independent elements (rows for the loss), so it gives the same
numbers for any number of threads, and needs nothing from its neighbours.
"""

from __future__ import annotations

# a = f(z) and f'(z) from z and a; p is the parameter of f
ACTIVATION = {
    "identity": ("z", "1"),
    "relu": ("z <= 0 ? 0 : z", "a > 0 ? 1 : 0"),
    "leaky_relu": ("z > 0 ? z : p * z", "a > 0 ? 1 : p"),
    "elu": ("z > 0 ? z : p * expm1(z)", "a > 0 ? 1 : a + p"),
    "selu": ("SELU_S * (z > 0 ? z : SELU_A * expm1(z))", "a > 0 ? SELU_S : a + SELU_S * SELU_A"),
    "gelu": (
        "HALF * z * (1 + erf(z * SQRT_HALF))",
        "HALF * (1 + erf(z * SQRT_HALF)) + z * exp(-HALF * z * z) * DENSITY",
    ),
    "gelu_tanh": ("HALF * z * (1 + gelu_t(z))", "gelu_tanh_slope(z)"),
    "silu": ("z * logistic(z)", "logistic(z) * (1 + z * (1 - logistic(z)))"),
    "mish": ("z * tanh(softplus(z))", "mish_slope(z)"),
    "tanh": ("tanh(z)", "1 - a * a"),
    "sigmoid": ("logistic(z)", "a * (1 - a)"),
    "softplus": ("softplus(z)", "-expm1(-a)"),
    "softsign": ("z / (1 + fabs(z))", "(1 - fabs(a)) * (1 - fabs(a))"),
    "hard_tanh": ("z >= 1 ? 1 : z <= -1 ? -1 : z", "a > -1 && a < 1 ? 1 : 0"),
    "hard_sigmoid": ("z >= 3 ? 1 : z <= -3 ? 0 : z / 6 + HALF", "z > -3 && z < 3 ? (REAL)1 / 6 : 0"),
    "hard_swish": ("z >= 3 ? z : z <= -3 ? 0 : z * (z + 3) / 6", "z >= 3 ? 1 : z <= -3 ? 0 : (2 * z + 3) / 6"),
    "sin": ("sin(z)", "cos(z)"),
}

# vectors of the state, numbers, and what is done to one entry x of theta with gradient g; keep = 1 - lr decay
RULE = {
    "sgd": ("", "lr", "x = keep * x - lr * g;"),
    "momentum": ("m", "lr mu", "m = mu * m + g; x = keep * x - lr * m;"),
    "nesterov": ("m", "lr mu", "m = mu * m + g; x = keep * x - lr * (g + mu * m);"),
    "adagrad": ("v", "lr eps", "v += g * g; x = keep * x - lr * g / (sqrt(v) + eps);"),
    "rmsprop": ("v", "lr rho new2 eps", "v = rho * v + new2 * g * g; x = keep * x - lr * g / (sqrt(v) + eps);"),
    "adadelta": (
        "v u",
        "lr rho new2 eps",
        "v = rho * v + new2 * g * g; REAL d = sqrt(u + eps) / sqrt(v + eps) * g; u = rho * u + new2 * d * d;"
        " x = keep * x - lr * d;",
    ),
    "adam": (
        "m v",
        "ahead here beta1 new1 beta2 new2 eps root",
        "m = beta1 * m + new1 * g; v = beta2 * v + new2 * g * g;"
        " x = keep * x - (ahead * m + here * g) / (sqrt(v) / root + eps);",
    ),
    "amsgrad": (
        "m v top",
        "ahead beta1 new1 beta2 new2 eps root",
        "m = beta1 * m + new1 * g; v = beta2 * v + new2 * g * g; top = top >= v ? top : v;"
        " x = keep * x - ahead * m / (sqrt(top) / root + eps);",
    ),
    "warm_adam": (
        "m v",
        "ahead beta1 new1 beta2 new2",
        "m = beta1 * m + new1 * g; v = beta2 * v + new2 * g * g; x = keep * x - ahead * m;",
    ),
    "lion": (
        "m",
        "lr beta1 new1 beta2 new2",
        "REAL d = beta1 * m + new1 * g; x = keep * x - lr * (d > 0 ? 1 : d < 0 ? -1 : d); m = beta2 * m + new2 * g;",
    ),
}

PREAMBLE = """
typedef long long Int;
typedef unsigned long long Word;

#define FIRST (blockIdx.x * (Int)blockDim.x + threadIdx.x)
#define EACH(i, count) (Int i = FIRST; i < (count); i += gridDim.x * (Int)blockDim.x)
#define HALF ((REAL)0.5)
#define SQRT_HALF ((REAL)0.70710678118654752440)
#define DENSITY ((REAL)0.39894228040143267794)
#define SELU_S ((REAL)1.0507009873554804934193349852946)
#define SELU_A ((REAL)1.6732632423543772848170429916717)
#define GELU_A ((REAL)0.79788456080286535588)
#define GELU_B ((REAL)0.044715)

inline __device__ REAL logistic(REAL z) { return HALF * (1 + tanh(HALF * z)); }
inline __device__ REAL softplus(REAL z) { return (z > 0 ? z : 0) + log1p(exp(z > 0 ? -z : z)); }
inline __device__ REAL mish_slope(REAL z) {
    REAL t = tanh(softplus(z));
    return t + z * (1 - t * t) * logistic(z);
}
inline __device__ REAL gelu_t(REAL z) { return tanh(GELU_A * (z + GELU_B * z * z * z)); }
inline __device__ REAL gelu_tanh_slope(REAL z) {
    REAL t = gelu_t(z);
    return HALF * (1 + t) + HALF * z * (1 - t * t) * GELU_A * (1 + 3 * GELU_B * z * z);
}
"""

_FORWARD = """
extern "C" __global__ void forward_NAME(REAL *Z, const REAL *b, REAL *A, Int size, Int columns, Int biased, REAL p) {
    for EACH(i, size) {
        REAL z = biased ? Z[i] + b[i % columns] : Z[i];
        Z[i] = z;
        A[i] = FORMULA;
    }
}
"""

_GRADIENT = """
extern "C" __global__ void gradient_NAME(REAL *Delta, const REAL *Z, const REAL *A, Int size, REAL p) {
    for EACH(i, size) {
        [[maybe_unused]] REAL z = Z[i], a = A[i]; /* a formula needs one of them */
        REAL slope = FORMULA;
        Delta[i] *= slope;
    }
}
"""

_RULE = """
extern "C" __global__ void NAME(REAL *theta, const REAL *grad, POINTERSInt size, REAL keepNUMBERS) {
    for EACH(i, size) {
        REAL x = theta[i], g = grad[i];
        LOADS
        BODY
        STORES
        theta[i] = x;
    }
}
"""

_CROSS_ENTROPY = """
extern "C" __global__ void cross_entropy(const REAL *Z, const Int *Y, const REAL *w, REAL *losses, REAL *Delta,
                                         Int rows, Int classes, Int weighted, Int differentiated, REAL total,
                                         REAL smoothing) {
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
            REAL share = exp(z[k] - top) / sum - smoothing / classes;
            Delta[i * classes + k] = (share - (k == y ? 1 - smoothing : 0)) * factor;
        }
    }
}
"""

_DROPOUT = """
/* Philox4x64-10 (Salmon et al., SC 2011); numpy counts up before each block of four words, and takes two float32 from
   a word, the lower half first: the same masks as numpy's, bit for bit. One thread per block of eight entries. */
extern "C" __global__ void dropout_mask(REAL *mask, Int size, Word key0, Word key1, Word step, Word layer, float p,
                                        REAL scale) {
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
    found = {name: _rule(name, slots.split(), numbers.split(), body) for name, (slots, numbers, body) in RULE.items()}
    for name, (forward, slope) in ACTIVATION.items():
        found[f"forward_{name}"] = _FORWARD.replace("NAME", name).replace("FORMULA", forward)
        found[f"gradient_{name}"] = _GRADIENT.replace("NAME", name).replace("FORMULA", slope)
    return {**found, "cross_entropy": _CROSS_ENTROPY, "dropout_mask": _DROPOUT}


def source(*names: str) -> str:
    """What is to be compiled, with REAL defined, to have these kernels; all of them if none is named."""
    found = kernels()
    return PREAMBLE + "".join(found[name] for name in names or found)


def _rule(name: str, slots: list[str], numbers: list[str], body: str) -> str:
    replaced = {
        "NAME": name,
        "POINTERS": "".join(f"REAL *{slot}_, " for slot in slots),
        "NUMBERS": "".join(f", REAL {number}" for number in numbers),
        "LOADS": " ".join(f"REAL {slot} = {slot}_[i];" for slot in slots),
        "BODY": body,
        "STORES": " ".join(f"{slot}_[i] = {slot};" for slot in slots),
    }
    text = _RULE
    for word, meaning in replaced.items():
        text = text.replace(word, meaning)
    return text
