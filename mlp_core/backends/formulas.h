/* Every elementwise formula of the engine, once for all machine code: activations with their derivatives under them,
 * losses of one output with theirs, update rules of one parameter.
 *
 * Whoever includes this has said what REAL is and what FN(name) makes of a name, once for each kind of number; INLINE,
 * how such a function begins; and SQRT, ABS, EXP, EXPM1, LOG1P, TANH, SIN, COS, PHI (the distribution function of the
 * standard normal distribution), functions of a REAL. The engine's own words for all this are in nn/: activations,
 * losses and optimizers. Nothing is included here, so that a compiler without a library can read it, too.
 *
 * NaN goes in and comes out: comparisons are turned so that it takes the branch that keeps it. All of a kind have one
 * face, whatever of it they use.
 */

/* --- activations: a = f(z), and f'(z) from z and a; p is the parameter of f, if it has one --- */

#define EACH_ACTIVATION(X) \
    X(identity) X(relu) X(leaky_relu) X(elu) X(selu) X(gelu) X(gelu_tanh) X(silu) X(mish) X(tanh) X(sigmoid) \
    X(softplus) X(softsign) X(hard_tanh) X(hard_sigmoid) X(hard_swish) X(sin)

INLINE REAL FN(identity)(REAL z, REAL p) { return z; }
INLINE REAL FN(identity_slope)(REAL z, REAL a, REAL p) { return 1; }

INLINE REAL FN(relu)(REAL z, REAL p) { return z <= 0 ? 0 : z; }
INLINE REAL FN(relu_slope)(REAL z, REAL a, REAL p) { return a > 0 ? (REAL)1 : (REAL)0; }

INLINE REAL FN(leaky_relu)(REAL z, REAL p) { return z > 0 ? z : p * z; }
INLINE REAL FN(leaky_relu_slope)(REAL z, REAL a, REAL p) { return a > 0 ? (REAL)1 : p; }

INLINE REAL FN(elu)(REAL z, REAL p)
{
    REAL low = z > 0 ? (REAL)0 : z;
    return z > 0 ? z : p * EXPM1(low);
}
INLINE REAL FN(elu_slope)(REAL z, REAL a, REAL p) { return a > 0 ? (REAL)1 : a + p; }

#define SELU_ALPHA ((REAL)1.6732632423543772848170429916717)
#define SELU_SCALE ((REAL)1.0507009873554804934193349852946)
INLINE REAL FN(selu)(REAL z, REAL p)
{
    REAL low = z > 0 ? (REAL)0 : z;
    return SELU_SCALE * (z > 0 ? z : SELU_ALPHA * EXPM1(low));
}
INLINE REAL FN(selu_slope)(REAL z, REAL a, REAL p) { return a > 0 ? SELU_SCALE : a + SELU_SCALE * SELU_ALPHA; }

#define HALF ((REAL)0.5)
INLINE REAL FN(gelu)(REAL z, REAL p) { return z * PHI(z); }
INLINE REAL FN(gelu_slope)(REAL z, REAL a, REAL p)
{
    const REAL density = (REAL)0.39894228040143267793994605993438; /* 1 / sqrt(2 pi) */
    return PHI(z) + z * density * EXP(-HALF * z * z);
}

#define GELU_B ((REAL)0.044715)
#define GELU_A ((REAL)0.79788456080286535587989211986876) /* sqrt(2 / pi) */
INLINE REAL FN(gelu_tanh)(REAL z, REAL p) { return HALF * z * (1 + TANH(GELU_A * (z + GELU_B * z * z * z))); }
INLINE REAL FN(gelu_tanh_slope)(REAL z, REAL a, REAL p)
{
    REAL t = TANH(GELU_A * (z + GELU_B * z * z * z));
    return HALF * (1 + t) + HALF * z * (1 - t * t) * GELU_A * (1 + 3 * GELU_B * z * z);
}

INLINE REAL FN(logistic)(REAL z) { return HALF * TANH(HALF * z) + HALF; }

/* log(1 + e^z) = max(z, 0) + log(1 + e^-|z|) */
INLINE REAL FN(log_1_exp)(REAL z) { return (z > 0 ? z : (REAL)0) + LOG1P(EXP(-ABS(z))); }

INLINE REAL FN(silu)(REAL z, REAL p) { return z * FN(logistic)(z); }
INLINE REAL FN(silu_slope)(REAL z, REAL a, REAL p)
{
    REAL s = FN(logistic)(z);
    return s * (1 + z * (1 - s));
}

/* tanh(softplus(z)) = n / (n + 2), n = u (u + 2), u = e^z; from e^40 on that is 1, and u^2 is not yet infinite.
 * Then (1 - tanh^2) sigmoid = 4 u (1 + u) / (n + 2)^2. */
INLINE REAL FN(mish)(REAL z, REAL p)
{
    REAL u = EXP(z > 40 ? (REAL)40 : z), n = u * (u + 2), r = 1 / (n + 2);
    return z * (n * r);
}
INLINE REAL FN(mish_slope)(REAL z, REAL a, REAL p)
{
    REAL u = EXP(z > 40 ? (REAL)40 : z), n = u * (u + 2), r = 1 / (n + 2);
    return n * r + 4 * z * (u * (1 + u) * r) * r;
}

INLINE REAL FN(tanh)(REAL z, REAL p) { return TANH(z); }
INLINE REAL FN(tanh_slope)(REAL z, REAL a, REAL p) { return 1 - a * a; }

INLINE REAL FN(sigmoid)(REAL z, REAL p) { return FN(logistic)(z); }
INLINE REAL FN(sigmoid_slope)(REAL z, REAL a, REAL p) { return a * (1 - a); }

INLINE REAL FN(softplus)(REAL z, REAL p) { return FN(log_1_exp)(z); }
INLINE REAL FN(softplus_slope)(REAL z, REAL a, REAL p) { return -EXPM1(-a); }

INLINE REAL FN(softsign)(REAL z, REAL p) { return z / (1 + ABS(z)); }
INLINE REAL FN(softsign_slope)(REAL z, REAL a, REAL p) { return (1 - ABS(a)) * (1 - ABS(a)); }

INLINE REAL FN(hard_tanh)(REAL z, REAL p) { return z >= 1 ? (REAL)1 : z <= -1 ? (REAL)-1 : z; }
INLINE REAL FN(hard_tanh_slope)(REAL z, REAL a, REAL p) { return a > -1 && a < 1 ? (REAL)1 : (REAL)0; }

INLINE REAL FN(hard_sigmoid)(REAL z, REAL p) { return z >= 3 ? (REAL)1 : z <= -3 ? (REAL)0 : z / 6 + HALF; }
INLINE REAL FN(hard_sigmoid_slope)(REAL z, REAL a, REAL p) { return z > -3 && z < 3 ? (REAL)1 / 6 : (REAL)0; }

INLINE REAL FN(hard_swish)(REAL z, REAL p) { return z >= 3 ? z : z <= -3 ? (REAL)0 : z * (z + 3) / 6; }
INLINE REAL FN(hard_swish_slope)(REAL z, REAL a, REAL p)
{
    return z >= 3 ? (REAL)1 : z <= -3 ? (REAL)0 : (2 * z + 3) / 6;
}

INLINE REAL FN(sin)(REAL z, REAL p) { return SIN(z); }
INLINE REAL FN(sin_slope)(REAL z, REAL a, REAL p) { return COS(z); }

/* --- losses of one output z with target y, and their derivatives to z; p is the parameter of the loss --- */

/* sign(x), and NaN for NaN */
INLINE REAL FN(sign)(REAL x) { return x > 0 ? (REAL)1 : x < 0 ? (REAL)-1 : x; }

INLINE REAL FN(mse_loss)(REAL z, REAL y, REAL p) { return (z - y) * (z - y); }
INLINE REAL FN(mse_loss_slope)(REAL z, REAL y, REAL p) { return 2 * (z - y); }

INLINE REAL FN(mae_loss)(REAL z, REAL y, REAL p) { return ABS(z - y); }
INLINE REAL FN(mae_loss_slope)(REAL z, REAL y, REAL p) { return FN(sign)(z - y); }

INLINE REAL FN(huber_loss)(REAL z, REAL y, REAL p)
{
    REAL d = z - y, size = ABS(d);
    return size <= p ? HALF * d * d : p * (size - HALF * p);
}
INLINE REAL FN(huber_loss_slope)(REAL z, REAL y, REAL p)
{
    REAL d = z - y;
    return d > p ? p : d < -p ? -p : d;
}

INLINE REAL FN(log_cosh_loss)(REAL z, REAL y, REAL p)
{
    REAL size = ABS(z - y);
    return size + LOG1P(EXP(-2 * size)) - (REAL)0.69314718055994530941723212145818;
}
INLINE REAL FN(log_cosh_loss_slope)(REAL z, REAL y, REAL p) { return TANH(z - y); }

INLINE REAL FN(poisson_loss)(REAL z, REAL y, REAL p) { return EXP(z) - y * z; }
INLINE REAL FN(poisson_loss_slope)(REAL z, REAL y, REAL p) { return EXP(z) - y; }

/* 1 / (1 + e^-z), from e^-|z| so that small shares keep all their digits */
INLINE REAL FN(share_of)(REAL z)
{
    REAL small = EXP(-ABS(z));
    return (z >= 0 ? (REAL)1 : small) / (1 + small);
}

/* p y softplus(-z) + (1 - y) softplus(z): p is the weight of positives */
INLINE REAL FN(bce_loss)(REAL z, REAL y, REAL p)
{
    return p * y * FN(log_1_exp)(-z) + (1 - y) * FN(log_1_exp)(z);
}
INLINE REAL FN(bce_loss_slope)(REAL z, REAL y, REAL p)
{
    return (1 - y) * FN(share_of)(z) - p * y * FN(share_of)(-z);
}

INLINE REAL FN(quadratic_loss)(REAL z, REAL y, REAL p)
{
    REAL d = FN(logistic)(z) - y;
    return HALF * d * d;
}
INLINE REAL FN(quadratic_loss_slope)(REAL z, REAL y, REAL p)
{
    REAL s = FN(logistic)(z);
    return (s - y) * s * (1 - s);
}

/* p e for e = y - z > 0, else (p - 1) e: p is the quantile */
INLINE REAL FN(quantile_loss)(REAL z, REAL y, REAL p)
{
    REAL e = y - z;
    return (e > 0 ? p : e < 0 ? p - 1 : (REAL)0) * e;
}
INLINE REAL FN(quantile_loss_slope)(REAL z, REAL y, REAL p)
{
    REAL e = y - z;
    return e > 0 ? -p : e < 0 ? 1 - p : 0 * e;
}

/* --- update rules: a parameter *x with gradient g, its numbers of the state, and the numbers n of this step, of which
 * n[0] is keep = 1 - lr * weight decay; backends/numbers.py computes them --- */

/* Each with how many vectors of the state and how many numbers it takes. */
#define EACH_RULE(X) \
    X(sgd, 0, 2) X(momentum, 1, 3) X(nesterov, 1, 3) X(adagrad, 1, 3) X(rmsprop, 1, 5) X(adadelta, 2, 5) \
    X(adam, 2, 9) X(amsgrad, 3, 9) X(radam, 2, 8) X(lion, 1, 6)

/* keep, lr */
INLINE void FN(sgd)(REAL *x, REAL g, REAL *m, REAL *v, REAL *u, const REAL *n) { *x = n[0] * *x - n[1] * g; }

/* keep, lr, mu */
INLINE void FN(momentum)(REAL *x, REAL g, REAL *m, REAL *v, REAL *u, const REAL *n)
{
    *m = n[2] * *m + g;
    *x = n[0] * *x - n[1] * *m;
}

/* keep, lr, mu */
INLINE void FN(nesterov)(REAL *x, REAL g, REAL *m, REAL *v, REAL *u, const REAL *n)
{
    *m = n[2] * *m + g;
    *x = n[0] * *x - n[1] * (g + n[2] * *m);
}

/* keep, lr, eps */
INLINE void FN(adagrad)(REAL *x, REAL g, REAL *v, REAL *u, REAL *w, const REAL *n)
{
    *v += g * g;
    *x = n[0] * *x - n[1] * g / (SQRT(*v) + n[2]);
}

/* keep, lr, rho, 1 - rho, eps */
INLINE void FN(rmsprop)(REAL *x, REAL g, REAL *v, REAL *u, REAL *w, const REAL *n)
{
    *v = n[2] * *v + n[3] * g * g;
    *x = n[0] * *x - n[1] * g / (SQRT(*v) + n[4]);
}

/* keep, lr, rho, 1 - rho, eps */
INLINE void FN(adadelta)(REAL *x, REAL g, REAL *v, REAL *u, REAL *w, const REAL *n)
{
    REAL d;
    *v = n[2] * *v + n[3] * g * g;
    d = SQRT(*u + n[4]) / SQRT(*v + n[4]) * g;
    *u = n[2] * *u + n[3] * d * d;
    *x = n[0] * *x - n[1] * d;
}

/* keep, rates of m and of g (0 but for nadam), beta1, 1 - beta1, beta2, 1 - beta2, eps, 1 / sqrt(1 - beta2^t) */
INLINE void FN(adam)(REAL *x, REAL g, REAL *m, REAL *v, REAL *u, const REAL *n)
{
    *m = n[3] * *m + n[4] * g;
    *v = n[5] * *v + n[6] * g * g;
    *x = n[0] * *x - (n[1] * *m + n[2] * g) / (SQRT(*v) * n[8] + n[7]);
}

/* the same numbers; the rate of g is nadam's */
INLINE void FN(amsgrad)(REAL *x, REAL g, REAL *m, REAL *v, REAL *top, const REAL *n)
{
    *m = n[3] * *m + n[4] * g;
    *v = n[5] * *v + n[6] * g * g;
    *top = *top >= *v ? *top : *v;
    *x = n[0] * *x - n[1] * *m / (SQRT(*top) * n[8] + n[7]);
}

/* keep, rate, beta1, 1 - beta1, beta2, 1 - beta2, eps, whether v is known well enough to divide by its root */
INLINE void FN(radam)(REAL *x, REAL g, REAL *m, REAL *v, REAL *u, const REAL *n)
{
    *m = n[2] * *m + n[3] * g;
    *v = n[4] * *v + n[5] * g * g;
    *x = n[0] * *x - n[1] * *m / (n[7] > 0 ? SQRT(*v) + n[6] : (REAL)1);
}

/* keep, lr, beta1, 1 - beta1, beta2, 1 - beta2 */
INLINE void FN(lion)(REAL *x, REAL g, REAL *m, REAL *v, REAL *u, const REAL *n)
{
    *x = n[0] * *x - n[1] * FN(sign)(n[2] * *m + n[3] * g);
    *m = n[4] * *m + n[5] * g;
}
