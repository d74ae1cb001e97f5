/* Losses: the loss of each row, divided by the weight of the whole batch, in its own place, and its gradient.
 *
 * Words of all: Z [rows, c], w [rows] or 0, Delta [rows, c], rows, c, Y, where the numbers of the loss are, where the
 * weight of the batch is, where the losses go [rows]. Y is a word [rows], the number of a class, or [rows, targets].
 * Rows are shared out. A target that is not the number of a class makes the loss NaN.
 */

/* The parts of a row that all losses need. */
#define ROW(target_type, targets)                                        \
    const REAL *z = AT(const REAL, 1) + a[5] * i;                        \
    REAL *d = AT(REAL, 3) + a[5] * i;                                    \
    const target_type *y = AT(const target_type, 6) + (targets) * i;     \
    const double weight = (AT(const REAL, 2) ? (double)AT(const REAL, 2)[i] : 1.0) / *AT(const double, 8)

/* --- every output for itself --- */

enum { FN(TOGETHER) = 64 }; /* outputs whose losses are computed before they are added up, in their order */

/* The loss over c outputs, a mean over them or a sum. TARGET(k) is the target of output k, P(k) its parameter. */
#define OVER_OUTPUTS(name, mean, TARGET, P)                                                \
    do {                                                                                   \
        const REAL factor = (REAL)((mean) ? weight / (double)a[5] : weight);               \
        double total = 0;                                                                  \
        for (word k0 = 0; k0 < a[5]; k0 += FN(TOGETHER)) {                                 \
            REAL losses[FN(TOGETHER)];                                                     \
            const word count = least(FN(TOGETHER), a[5] - k0);                             \
            INDEPENDENT for (word k = 0; k < count; k++) {                                 \
                losses[k] = FN(name##_loss)(z[k0 + k], TARGET(k0 + k), P(k0 + k));         \
                d[k0 + k] = FN(name##_loss_slope)(z[k0 + k], TARGET(k0 + k), P(k0 + k)) * factor; \
            }                                                                              \
            for (word k = 0; k < count; k++)                                               \
                total += (double)losses[k];                                                \
        }                                                                                  \
        AT(double, 9)[i] = ((mean) ? weight / (double)a[5] : weight) * total;              \
    } while (0)

#define GIVEN(k) y[k]
#define NUMBER_OF_LOSS(k) p

#define OUTPUT_LOSS(name, mean)                                          \
    EXPORT void FN(name)(const word *a, word part, word parts)           \
    {                                                                    \
        const REAL p = (REAL)*AT(const double, 7);                       \
        for MINE(i, a[4]) {                                              \
            ROW(REAL, a[5]);                                             \
            OVER_OUTPUTS(name, mean, GIVEN, NUMBER_OF_LOSS);             \
        }                                                                \
    }
OUTPUT_LOSS(mse, true)
OUTPUT_LOSS(mae, true)
OUTPUT_LOSS(huber, true)
OUTPUT_LOSS(log_cosh, true)
OUTPUT_LOSS(poisson, true)
OUTPUT_LOSS(bce, true)
OUTPUT_LOSS(quadratic, false)

/* The same with classes as targets: 1 for the output of the class, or for the only output where the class is 1. */
#define CLASS_OUTPUT_LOSS(name, mean)                                     \
    EXPORT void FN(name##_of_classes)(const word *a, word part, word parts) \
    {                                                                    \
        const REAL p = (REAL)*AT(const double, 7);                       \
        for MINE(i, a[4]) {                                              \
            ROW(word, 1);                                                \
            if (y[0] < 0 || y[0] >= (a[5] > 1 ? a[5] : 2)) {             \
                AT(double, 9)[i] = NAN;                                  \
                continue;                                                \
            }                                                            \
            if (a[5] > 1)                                                \
                OVER_OUTPUTS(name, mean, ONE_OF_SEVERAL, NUMBER_OF_LOSS); \
            else                                                         \
                OVER_OUTPUTS(name, mean, ONLY_ONE, NUMBER_OF_LOSS);      \
        }                                                                \
    }
#define ONE_OF_SEVERAL(k) ((k) == y[0] ? (REAL)1 : (REAL)0)
#define ONLY_ONE(k) ((REAL)y[0])
CLASS_OUTPUT_LOSS(bce, true)
CLASS_OUTPUT_LOSS(quadratic, false)

/* The quantiles of each target, targets outermost; numbers: how many there are, and each. */
EXPORT void FN(quantile)(const word *a, word part, word parts)
{
    const word levels = (word)*AT(const double, 7);
    const double *level = AT(const double, 7) + 1;
#define TARGET_OF(k) y[(k) / levels]
#define LEVEL_OF(k) (REAL)level[(k) % levels]
    for MINE(i, a[4]) {
        ROW(REAL, a[5] / levels);
        OVER_OUTPUTS(quantile, true, TARGET_OF, LEVEL_OF);
    }
}

/* (s + (y - m)^2 e^-s) / 2, a mean over the targets: c / 2 means m, then as many log-variances s. */
EXPORT void FN(gaussian_nll)(const word *a, word part, word parts)
{
    const word targets = a[5] / 2;
    for MINE(i, a[4]) {
        ROW(REAL, targets);
        const REAL factor = (REAL)(weight / (double)targets);
        double total = 0;
        for (word k = 0; k < targets; k++) {
            REAL off = z[k] - y[k], precision = EXP(-z[targets + k]);
            total += (double)(HALF * (z[targets + k] + off * off * precision));
            d[k] = off * precision * factor;
            d[targets + k] = HALF * (1 - off * off * precision) * factor;
        }
        AT(double, 9)[i] = weight / (double)targets * total;
    }
}

/* --- classes that exclude each other --- */

/* d = e^(z - top), top the largest of z; their sum. NaN goes through. */
static inline double FN(exponentials)(const REAL *z, word classes, REAL *d, REAL *top)
{
    REAL largest = z[0];
    double total = 0;
    for (word k = 1; k < classes; k++)
        largest = z[k] > largest ? z[k] : largest;
    INDEPENDENT for (word k = 0; k < classes; k++) d[k] = EXP(z[k] - largest);
    for (word k = 0; k < classes; k++)
        total += (double)d[k];
    *top = largest;
    return total;
}

/* -sum q log softmax(z), and softmax(z) less its share of s: what is left is to take (1 - s) y from it. q = (1 - s) y +
 * s / c, s the label smoothing, chosen = sum y z. */
static inline double FN(softmax_row)(const REAL *z, word c, double chosen, double s, double weight, REAL *d)
{
    REAL top;
    const double total = FN(exponentials)(z, c, d, &top);
    double loss = log(total) + (double)top - (1 - s) * chosen;
    if (s > 0)
        loss -= s / (double)c * FN(sum)(z, c);
    const REAL scale = (REAL)(weight / total), spread = (REAL)(s / (double)c * weight);
    INDEPENDENT for (word k = 0; k < c; k++) d[k] = d[k] * scale - spread;
    return weight * loss;
}

/* Numbers: s. */
EXPORT void FN(cross_entropy_of_classes)(const word *a, word part, word parts)
{
    const double s = *AT(const double, 7);
    for MINE(i, a[4]) {
        ROW(word, 1);
        if (y[0] < 0 || y[0] >= a[5]) {
            AT(double, 9)[i] = NAN;
            continue;
        }
        AT(double, 9)[i] = FN(softmax_row)(z, a[5], (double)z[y[0]], s, weight, d);
        d[y[0]] -= (REAL)((1 - s) * weight);
    }
}

/* The same with distributions over the classes as targets. */
EXPORT void FN(cross_entropy)(const word *a, word part, word parts)
{
    const double s = *AT(const double, 7);
    for MINE(i, a[4]) {
        ROW(REAL, a[5]);
        const REAL own = (REAL)((1 - s) * weight);
        AT(double, 9)[i] = FN(softmax_row)(z, a[5], FN(sum_of_products)(y, z, a[5]), s, weight, d);
        INDEPENDENT for (word k = 0; k < a[5]; k++) d[k] -= own * y[k];
    }
}

/* -(1 - p)^g log p, p the probability of the class. Numbers: g. A single logit z stands for (0, z); its target may be
 * [rows, 1], hence two functions. */
static inline double FN(focal_row)(const REAL *z, word c, word class, double g, double weight, REAL *d)
{
    double miss = 0, log_p, slope, p, total = 0;
    REAL top;
    if (class < 0 || class >= (c > 1 ? c : 2))
        return NAN;
    if (c == 1) {
        const double t = class ? (double)z[0] : -(double)z[0]; /* the logit of the class beside that of the other */
        const double small = exp(-fabs(t));
        miss = (t >= 0 ? small : 1) / (1 + small), p = (t >= 0 ? 1 : small) / (1 + small);
        log_p = (t < 0 ? t : 0) - log1p(small);
    } else {
        total = FN(exponentials)(z, c, d, &top);
        for (word k = 0; k < c; k++)
            miss += k == class ? 0 : (double)d[k] / total;
        p = (double)d[class] / total;
        log_p = (double)z[class] - (double)top - log(total);
    }
    slope = -pow(miss, g);
    if (g > 0)
        slope += g * pow(miss > 1e-30 ? miss : 1e-30, g - 1) * p * log_p;
    if (c == 1)
        d[0] = (REAL)((class ? 1 : -1) * slope * miss * weight);
    else {
        const REAL scale = (REAL)(-slope * weight / total);
        INDEPENDENT for (word k = 0; k < c; k++) d[k] *= scale;
        d[class] = (REAL)(slope * miss * weight);
    }
    return -pow(miss, g) * log_p * weight;
}

EXPORT void FN(focal_of_classes)(const word *a, word part, word parts)
{
    for MINE(i, a[4]) {
        ROW(word, 1);
        AT(double, 9)[i] = FN(focal_row)(z, a[5], y[0], *AT(const double, 7), weight, d);
    }
}

EXPORT void FN(focal)(const word *a, word part, word parts)
{
    for MINE(i, a[4]) {
        ROW(REAL, 1);
        AT(double, 9)[i] = FN(focal_row)(z, a[5], (word)y[0], *AT(const double, 7), weight, d);
    }
}
