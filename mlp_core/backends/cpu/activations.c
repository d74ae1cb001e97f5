/* What happens to every entry of a layer's Z [rows, m], and the way back: the factor and the bias of a product, the
 * activation, the share of it that a unit takes, dropout. Rows are shared out; a row stays in the first cache from one
 * of these to the next.
 *
 * Words of all: Z or Delta, b [m] or 0, F, rows, m, where the numbers are (of f, factor, dropout), alpha [m] or 0, what
 * dropout leaves (bytes [rows, m]) or 0, A, where the share of the dropout is. F may be Z, and A may be F.
 */
enum { FN(OF_F), FN(FACTOR), FN(DROPOUT) };

/* z = factor z + b */
static inline void FN(add_bias)(const word *a, word i)
{
    const word m = a[5];
    const REAL *b = AT(const REAL, 2), factor = (REAL)AT(const double, 6)[FN(FACTOR)];
    REAL *Z = AT(REAL, 1) + m * i;
    if (b)
        INDEPENDENT for (word j = 0; j < m; j++) Z[j] = FMA(factor, Z[j], b[j]);
    else if (factor != 1)
        INDEPENDENT for (word j = 0; j < m; j++) Z[j] *= factor;
}

/* X = Y where something is left of it by dropout, times 1 / (1 - p); X may be Y */
static inline void FN(drop)(const word *a, word i, const REAL *Y, REAL *X)
{
    const word m = a[5];
    const uint8_t *left = AT(const uint8_t, 8) + m * i;
    const REAL scale = (REAL)(1 / (1 - AT(const double, 6)[FN(DROPOUT)] * *AT(const double, 10)));
    INDEPENDENT for (word j = 0; j < m; j++) X[j] = Y[j] * ((REAL)left[j] * scale);
}

/* A = F, or z + alpha (f - z), and dropout of that */
static inline void FN(mix_and_drop)(const word *a, word i)
{
    const word m = a[5];
    const REAL *alpha = AT(const REAL, 7), *Z = AT(const REAL, 1) + m * i, *F = AT(const REAL, 3) + m * i;
    REAL *A = AT(REAL, 9) + m * i;
    if (alpha)
        INDEPENDENT for (word j = 0; j < m; j++) A[j] = FMA(alpha[j], F[j] - Z[j], Z[j]);
    if (a[8])
        FN(drop)(a, i, alpha ? A : F, A);
}

/* Forward: Z = factor Z + b, F = f(Z), A as above.
 * Backward: Delta *= f' where there is no alpha; else Delta *= 1 + alpha (f' - 1), and Z = Delta (f - z), whose sum over
 * the rows is the gradient of alpha. f' is a factor, so that NaN and infinity in Delta stay. */
#define ACTIVATION(name)                                                                          \
    EXPORT void FN(name##_forward)(const word *a, word part, word parts)                          \
    {                                                                                             \
        const word m = a[5];                                                                      \
        const REAL p = (REAL)AT(const double, 6)[FN(OF_F)];                                       \
        for MINE(i, a[4]) {                                                                       \
            const REAL *Z = AT(const REAL, 1) + m * i;                                            \
            REAL *F = AT(REAL, 3) + m * i;                                                        \
            FN(add_bias)(a, i);                                                                   \
            INDEPENDENT for (word j = 0; j < m; j++) F[j] = FN(name)(Z[j], p);                    \
            FN(mix_and_drop)(a, i);                                                               \
        }                                                                                         \
    }                                                                                             \
    EXPORT void FN(name##_backward)(const word *a, word part, word parts)                         \
    {                                                                                             \
        const word m = a[5];                                                                      \
        const REAL p = (REAL)AT(const double, 6)[FN(OF_F)], *alpha = AT(const REAL, 7);           \
        const REAL factor = (REAL)AT(const double, 6)[FN(FACTOR)];                                \
        for MINE(i, a[4]) {                                                                       \
            const REAL *F = AT(const REAL, 3) + m * i;                                            \
            REAL *Delta = AT(REAL, 1) + m * i, *Z = AT(REAL, 2) + m * i;                          \
            if (a[8])                                                                             \
                FN(drop)(a, i, Delta, Delta);                                                     \
            if (alpha)                                                                            \
                INDEPENDENT for (word j = 0; j < m; j++) {                                        \
                    REAL z = Z[j], d = Delta[j], f = FN(name)(z, p), slope = FN(name##_slope)(z, f, p); \
                    Z[j] = d * (f - z);                                                           \
                    Delta[j] = d * (factor * FMA(alpha[j], slope - 1, (REAL)1));                  \
                }                                                                                 \
            else                                                                                  \
                INDEPENDENT for (word j = 0; j < m; j++)                                          \
                    Delta[j] *= factor * FN(name##_slope)(Z[j], F[j], p);                         \
        }                                                                                         \
    }
EACH_ACTIVATION(ACTIVATION)

/* A = X for X > 0, else slope X. Words: X, -, A, rows, m, the slope. */
EXPORT void FN(prelu_forward)(const word *a, word part, word parts)
{
    const REAL *X = AT(const REAL, 1), slope = *AT(const REAL, 6);
    REAL *A = AT(REAL, 3);
    INDEPENDENT for ENTRIES(i, a[4], a[5]) A[i] = X[i] > 0 ? X[i] : slope * X[i];
}

/* Delta *= slope where X <= 0, and before that sums[i] = sum over these entries of row i of Delta X.
 * Words: Delta, X, -, rows, m, the slope, sums [rows]. */
EXPORT void FN(prelu_backward)(const word *a, word part, word parts)
{
    const word m = a[5];
    const REAL slope = *AT(const REAL, 6);
    for MINE(i, a[4]) {
        REAL *Delta = AT(REAL, 1) + m * i;
        const REAL *X = AT(const REAL, 2) + m * i;
        double sum = 0;
        for (word j = 0; j < m; j++)
            if (!(X[j] > 0))
                sum += (double)(Delta[j] * X[j]);
        AT(double, 7)[i] = sum;
        INDEPENDENT for (word j = 0; j < m; j++) Delta[j] = X[j] <= 0 ? Delta[j] * slope : Delta[j];
    }
}
