/* Instructions on rows of the batch, which are shared out: gathered, mixed, normed, words looked up, skips.
 * Z, A, H, X, Delta are [rows, m] without gaps; words 4 and 5 are rows and m where nothing else is said. */

/* out[i] = (X[rows[i]] - shift) * scale, in double and then rounded. Words: X [n, columns], columns, where the address
 * of the row numbers is, the first of them, out, count, shift, scale. Rows of bytes are fetched from memory some rows
 * before they are needed: they lie anywhere, and reading them is nothing but waiting. */
#define GATHER_SCALED(stored, type)                                                                \
    EXPORT void FN(gather_##stored)(const word *a, word part, word parts)                          \
    {                                                                                              \
        enum { AHEAD = 4, CACHE_LINE = 64 };                                                       \
        const type *X = AT(const type, 1);                                                         \
        const word columns = a[2], *rows = *AT(const word *const, 3) + a[4];                       \
        const double *shift = AT(const double, 7), *scale = AT(const double, 8);                   \
        word first, last;                                                                          \
        share(a[6], part, parts, &first, &last);                                                   \
        for (word i = first; i < last; i++) {                                                      \
            const type *x = X + columns * rows[i];                                                 \
            REAL *out = AT(REAL, 5) + columns * i;                                                 \
            if (i + AHEAD < last)                                                                  \
                for (word b = 0; b < columns * (word)sizeof(type); b += CACHE_LINE)                \
                    __builtin_prefetch((const char *)(X + columns * rows[i + AHEAD]) + b);         \
            INDEPENDENT for (word j = 0; j < columns; j++)                                         \
                out[j] = (REAL)(((double)x[j] - shift[j]) * scale[j]);                             \
        }                                                                                          \
    }
GATHER_SCALED(uint8, uint8_t)
GATHER_SCALED(float32, float)

/* --- rows made less sure of themselves: what is drawn for a step lies behind its row numbers, some bytes on --- */

/* out[i] = lambda X[i] + (1 - lambda) X[other[i]]. Words: X, where the address of the row numbers is, how far on the
 * numbers `other` are, rows, m, out, how far on lambda is. */
EXPORT void FN(mix)(const word *a, word part, word parts)
{
    const word m = a[5], *other = (const word *)(const void *)(*AT(const char *const, 2) + a[3]);
    const double *lambda = (const double *)(const void *)(*AT(const char *const, 2) + a[7]);
    const REAL here = (REAL)*lambda, there = (REAL)(1 - *lambda);
    for MINE(i, a[4]) {
        const REAL *x = AT(const REAL, 1) + m * i, *y = AT(const REAL, 1) + m * other[i];
        REAL *out = AT(REAL, 6) + m * i;
        INDEPENDENT for (word j = 0; j < m; j++) out[j] = x[j] * here + y[j] * there;
    }
}

/* Y[i] = 1 for the class of row i, 0 for others. Words: classes [rows], -, -, rows, c, Y. */
EXPORT void FN(one_hot)(const word *a, word part, word parts)
{
    for MINE(i, a[4])
        for (word k = 0; k < a[5]; k++)
            AT(REAL, 6)[a[5] * i + k] = AT(const word, 1)[i] == k ? (REAL)1 : (REAL)0;
}

/* X += sigma N, N normal numbers. Words: X, where the address of the row numbers is, how far on N is (float [rows, m]),
 * rows, m, where sigma is. */
EXPORT void FN(add_noise)(const word *a, word part, word parts)
{
    const float *N = (const float *)(const void *)(*AT(const char *const, 2) + a[3]);
    const REAL sigma = (REAL)*AT(const double, 6);
    REAL *X = AT(REAL, 1);
    INDEPENDENT for ENTRIES(i, a[4], a[5]) X[i] += (REAL)N[i] * sigma;
}

/* --- skips --- */

/* C = A + B. Words: A, B, C, rows, m; C may be A. */
EXPORT void FN(add)(const word *a, word part, word parts)
{
    const REAL *A = AT(const REAL, 1), *B = AT(const REAL, 2);
    REAL *C = AT(REAL, 3);
    INDEPENDENT for ENTRIES(i, a[4], a[5]) C[i] = A[i] + B[i];
}

/* The first columns of X [rows, n] to the first of A [rows, m]. Words: X, n, A, rows, m, columns. */
EXPORT void FN(copy_columns)(const word *a, word part, word parts)
{
    word first, last;
    share(a[4], part, parts, &first, &last);
    FN(copy)(AT(const REAL, 1) + a[2] * first, a[2], last - first, a[6], AT(REAL, 3) + a[5] * first, a[5]);
}

/* A = X s, column by column. Words: X, s [m], A, rows, m; A may be X. */
EXPORT void FN(scale_columns)(const word *a, word part, word parts)
{
    const word m = a[5];
    const REAL *s = AT(const REAL, 2);
    for MINE(i, a[4]) {
        const REAL *X = AT(const REAL, 1) + m * i;
        REAL *A = AT(REAL, 3) + m * i;
        INDEPENDENT for (word j = 0; j < m; j++) A[j] = X[j] * s[j];
    }
}

/* --- norms: A = gain H + shift, H = (X - mean) inverse, inverse = 1 / sqrt(variance + eps) --- */

/* Of each row by itself. Words: X, H, A, rows, m, gain, shift (0: neither shift nor mean), inverse [rows], where eps
 * is. */
EXPORT void FN(norm_forward)(const word *a, word part, word parts)
{
    const word m = a[5];
    const REAL *gain = AT(const REAL, 6), *shift = AT(const REAL, 7);
    const double eps = *AT(const double, 9);
    for MINE(i, a[4]) {
        const REAL *X = AT(const REAL, 1) + m * i;
        REAL *H = AT(REAL, 2) + m * i, *A = AT(REAL, 3) + m * i, mean = 0, inverse;
        if (shift)
            mean = (REAL)(FN(sum)(X, m) / (double)m);
        INDEPENDENT for (word j = 0; j < m; j++) H[j] = X[j] - mean;
        inverse = (REAL)(1 / sqrt(FN(sum_of_products)(H, H, m) / (double)m + eps));
        AT(REAL, 8)[i] = inverse;
        INDEPENDENT for (word j = 0; j < m; j++) H[j] *= inverse;
        if (shift)
            INDEPENDENT for (word j = 0; j < m; j++) A[j] = H[j] * gain[j] + shift[j];
        else
            INDEPENDENT for (word j = 0; j < m; j++) A[j] = H[j] * gain[j];
    }
}

/* dX = inverse (D - mean(D) - H mean(D H)), D = gain Delta. Words: Delta, H, dX, rows, m, gain, shift (0: no mean),
 * inverse [rows]. Delta stays: gain and shift need it. */
EXPORT void FN(norm_backward)(const word *a, word part, word parts)
{
    const word m = a[5];
    const REAL *gain = AT(const REAL, 6);
    for MINE(i, a[4]) {
        const REAL *Delta = AT(const REAL, 1) + m * i, *H = AT(const REAL, 2) + m * i, inverse = AT(const REAL, 8)[i];
        REAL *D = AT(REAL, 3) + m * i, mean = 0, along;
        INDEPENDENT for (word j = 0; j < m; j++) D[j] = gain[j] * Delta[j];
        along = (REAL)(FN(sum_of_products)(D, H, m) / (double)m);
        if (a[7])
            mean = (REAL)(FN(sum)(D, m) / (double)m);
        INDEPENDENT for (word j = 0; j < m; j++) D[j] = (D[j] - mean - H[j] * along) * inverse;
    }
}

/* Of each column over the batch, whose mean and inverse are known. Words: X, H, A, rows, m, gain, shift, mean [m],
 * inverse [m]. */
EXPORT void FN(batch_norm_forward)(const word *a, word part, word parts)
{
    const word m = a[5];
    const REAL *gain = AT(const REAL, 6), *shift = AT(const REAL, 7);
    const REAL *mean = AT(const REAL, 8), *inverse = AT(const REAL, 9);
    for MINE(i, a[4]) {
        const REAL *X = AT(const REAL, 1) + m * i;
        REAL *H = AT(REAL, 2) + m * i, *A = AT(REAL, 3) + m * i;
        INDEPENDENT for (word j = 0; j < m; j++) {
            REAL h = (X[j] - mean[j]) * inverse[j];
            H[j] = h;
            A[j] = h * gain[j] + shift[j];
        }
    }
}

/* Delta = gain inverse (Delta - dshift / n - H dgain / n), dgain and dshift the gradients of gain and shift: the sums
 * over the batch that are needed. Words: Delta, H, inverse [m], rows n, m, gain, dgain, dshift. */
EXPORT void FN(batch_norm_backward)(const word *a, word part, word parts)
{
    const word m = a[5];
    const REAL *inverse = AT(const REAL, 3), *gain = AT(const REAL, 6), n = (REAL)a[4];
    const REAL *dgain = AT(const REAL, 7), *dshift = AT(const REAL, 8);
    for MINE(i, a[4]) {
        REAL *Delta = AT(REAL, 1) + m * i;
        const REAL *H = AT(const REAL, 2) + m * i;
        INDEPENDENT for (word j = 0; j < m; j++)
            Delta[j] = gain[j] * inverse[j] * (Delta[j] - dshift[j] / n - H[j] * (dgain[j] / n));
    }
}

/* --- embeddings: X [rows, n] holds codes of words in one column, E [words, dim] a row of numbers for each word --- */

/* The word that a code names; one that is none names the first or the last. */
static inline word FN(word_of)(REAL code, word words)
{
    double nearest = rint((double)code);
    return !(nearest > 0) ? 0 : nearest < (double)words ? (word)nearest : words - 1;
}

/* A[i, start:] = E[code of row i]. Words: X at the column, n, A at the start, rows, m, E, words, dim. */
EXPORT void FN(embedding_forward)(const word *a, word part, word parts)
{
    for MINE(i, a[4])
        memcpy(AT(REAL, 3) + a[5] * i, AT(const REAL, 6) + a[8] * FN(word_of)(AT(const REAL, 1)[a[2] * i], a[7]),
               (size_t)a[8] * sizeof(REAL));
}

/* dE[w] = sum over the rows i with this word of Delta[i, start:]; words are shared out.
 * Words: X at the column, n, Delta at the start, rows, m, dE, words, dim. */
EXPORT void FN(embedding_gradient)(const word *a, word part, word parts)
{
    const word dim = a[8];
    REAL *dE = AT(REAL, 6);
    word first, last;
    share(a[7], part, parts, &first, &last);
    memset(dE + dim * first, 0, (size_t)(dim * (last - first)) * sizeof(REAL));
    for (word i = 0; i < a[4]; i++) {
        word w = FN(word_of)(AT(const REAL, 1)[a[2] * i], a[7]);
        if (w >= first && w < last)
            for (word j = 0; j < dim; j++)
                dE[dim * w + j] += (AT(const REAL, 3) + a[5] * i)[j];
    }
}
