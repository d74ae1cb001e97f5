/* Instructions on units of a layer, which are shared out: sums over the batch, penalties, limits, updates, averages.
 * theta, gradient and state of a tensor are [units, entries]. */

/* db[j] = sum over the rows of Delta[:, j], times a factor. Words: Delta, db, where the factor is or 0, rows, m.
 * Columns are shared out. */
EXPORT void FN(sum_rows)(const word *a, word part, word parts)
{
    const word rows = a[4], m = a[5], whole = rows - rows % 4;
    const REAL *D = AT(const REAL, 1);
    REAL *restrict db = AT(REAL, 2);
    word first, last;
    share(m, part, parts, &first, &last);
    for (word j = first; j < last; j++)
        db[j] = 0;
    for (word i = 0; i < whole; i += 4) /* so that db is read and written but once for four rows */
        for (word j = first; j < last; j++)
            db[j] += (D[m * i + j] + D[m * (i + 1) + j]) + (D[m * (i + 2) + j] + D[m * (i + 3) + j]);
    for (word i = whole; i < rows; i++)
        for (word j = first; j < last; j++)
            db[j] += D[m * i + j];
    if (a[3]) {
        const REAL factor = (REAL)*AT(const double, 3);
        for (word j = first; j < last; j++)
            db[j] *= factor;
    }
}

/* dg[j] = sum over the rows of Delta[:, j] H[:, j]. Words: Delta, dg, H, rows, m. Columns are shared out. */
EXPORT void FN(sum_row_products)(const word *a, word part, word parts)
{
    const word rows = a[4], m = a[5];
    const REAL *Delta = AT(const REAL, 1), *H = AT(const REAL, 3);
    REAL *restrict dg = AT(REAL, 2);
    word first, last;
    share(m, part, parts, &first, &last);
    for (word j = first; j < last; j++)
        dg[j] = 0;
    for (word i = 0; i < rows; i++)
        for (word j = first; j < last; j++)
            dg[j] += Delta[m * i + j] * H[m * i + j];
}

/* Mean and 1 / sqrt(variance + eps) of the columns of X, and running statistics moved by `momentum` towards them, the
 * variance as of a sample. Words: X, mean [m], inverse [m], rows, m, running mean or 0, running variance, where eps and
 * the momentum are. Columns are shared out. */
EXPORT void FN(batch_statistics)(const word *a, word part, word parts)
{
    const word rows = a[4], m = a[5];
    const REAL *X = AT(const REAL, 1), n = (REAL)rows;
    const double eps = AT(const double, 8)[0];
    const REAL momentum = (REAL)AT(const double, 8)[1], sample = n / (n - 1);
    REAL *restrict mean = AT(REAL, 2), *restrict inverse = AT(REAL, 3);
    REAL *running_mean = AT(REAL, 6), *running_var = AT(REAL, 7);
    word first, last;
    share(m, part, parts, &first, &last);
    for (word j = first; j < last; j++)
        mean[j] = inverse[j] = 0;
    for (word i = 0; i < rows; i++)
        for (word j = first; j < last; j++)
            mean[j] += X[m * i + j];
    for (word j = first; j < last; j++)
        mean[j] /= n;
    for (word i = 0; i < rows; i++)
        for (word j = first; j < last; j++)
            inverse[j] += (X[m * i + j] - mean[j]) * (X[m * i + j] - mean[j]);
    for (word j = first; j < last; j++) {
        const REAL variance = inverse[j] / n;
        if (running_mean && rows > 1) {
            running_mean[j] += momentum * (mean[j] - running_mean[j]);
            running_var[j] += momentum * (variance * sample - running_var[j]);
        }
        inverse[j] = (REAL)(1 / sqrt((double)variance + eps));
    }
}

/* *x = sum of the terms. Words: terms, x, count. By the part that has the only unit of a tensor. */
EXPORT void FN(total)(const word *a, word part, word parts)
{
    word first, last;
    share(1, part, parts, &first, &last);
    if (last > first) {
        double total = 0;
        for (word i = 0; i < a[3]; i++)
            total += AT(const double, 1)[i];
        *AT(REAL, 2) = (REAL)total;
    }
}

/* --- penalties --- */

/* l2/2 theta^2 + l1 |theta| of each unit. Words: theta, -, where l2 and l1 are, units, entries, the sums [units]. */
EXPORT void FN(penalty)(const word *a, word part, word parts)
{
    const double l2 = AT(const double, 3)[0], l1 = AT(const double, 3)[1];
    for MINE(i, a[4]) {
        const REAL *theta = AT(const REAL, 1) + a[5] * i;
        double square = l2 > 0 ? FN(sum_of_products)(theta, theta, a[5]) : 0, absolute = 0;
        for (word j = 0; j < (l1 > 0 ? a[5] : 0); j++)
            absolute += (double)ABS(theta[j]);
        AT(double, 6)[i] = 0.5 * l2 * square + l1 * absolute;
    }
}

/* grad += l2 theta + l1 sign(theta). Words: theta, grad, where l2 and l1 are, units, entries. */
EXPORT void FN(penalty_gradient)(const word *a, word part, word parts)
{
    const REAL *theta = AT(const REAL, 1), l2 = (REAL)AT(const double, 3)[0], l1 = (REAL)AT(const double, 3)[1];
    REAL *grad = AT(REAL, 2);
    INDEPENDENT for ENTRIES(i, a[4], a[5]) grad[i] += l2 * theta[i] + l1 * FN(sign)(theta[i]);
}

/* --- limits of a gradient, and of weights --- */

/* Entries cut to [-largest, largest]. Words: grad, where it is, -, units, entries. */
EXPORT void FN(clip_value)(const word *a, word part, word parts)
{
    const REAL largest = (REAL)*AT(const double, 2);
    REAL *grad = AT(REAL, 1);
    INDEPENDENT for ENTRIES(i, a[4], a[5])
        grad[i] = grad[i] > largest ? largest : grad[i] < -largest ? -largest : grad[i];
}

/* The sum of the squares of each unit. Words: grad, squares [units], -, units, entries. */
EXPORT void FN(squares)(const word *a, word part, word parts)
{
    for MINE(i, a[4]) {
        const REAL *grad = AT(const REAL, 1) + a[5] * i;
        AT(double, 2)[i] = FN(sum_of_products)(grad, grad, a[5]);
    }
}

/* What shortens the whole gradient to a length, for each part in a place of its own. Words: squares, how many, where
 * the length is, factors [parts, LINE]. */
EXPORT void FN(shortening)(const word *a, word part, word parts)
{
    double total = 0;
    for (word i = 0; i < a[2]; i++)
        total += AT(const double, 1)[i];
    const double length = sqrt(total), longest = *AT(const double, 3);
    AT(double, 4)[16 * part] = length > longest ? longest / length : 1;
}

/* grad times this part's factor. Words: grad, factors, -, units, entries. */
EXPORT void FN(shorten)(const word *a, word part, word parts)
{
    const REAL factor = (REAL)AT(const double, 2)[16 * part];
    REAL *grad = AT(REAL, 1);
    if (factor < 1)
        INDEPENDENT for ENTRIES(i, a[4], a[5]) grad[i] *= factor;
}

/* Units cut to a length where they are longer. Words: W, where it is, -, units, entries. */
EXPORT void FN(shorten_rows)(const word *a, word part, word parts)
{
    const double longest = *AT(const double, 2);
    for MINE(i, a[4]) {
        REAL *W = AT(REAL, 1) + a[5] * i;
        const double length = sqrt(FN(sum_of_products)(W, W, a[5]));
        const REAL factor = (REAL)(longest / length);
        if (length > longest)
            INDEPENDENT for (word j = 0; j < a[5]; j++) W[j] *= factor;
    }
}

/* --- updates and averages --- */

/* A rule with so many vectors of the state and numbers. Words: theta, grad, up to three vectors of the state, where the
 * numbers are, units, entries. */
#define UPDATE(rule, vectors, numbers)                                                                        \
    EXPORT void FN(rule##_update)(const word *a, word part, word parts)                                       \
    {                                                                                                         \
        REAL n[numbers], *theta = AT(REAL, 1), *s0 = AT(REAL, 3), *s1 = AT(REAL, 4), *s2 = AT(REAL, 5);       \
        const REAL *grad = AT(const REAL, 2);                                                                 \
        for (int k = 0; k < (numbers); k++)                                                                   \
            n[k] = (REAL)AT(const double, 6)[k];                                                              \
        INDEPENDENT for ENTRIES(i, a[7], a[8])                                                                \
            FN(rule)(theta + i, grad[i], (vectors) > 0 ? s0 + i : NULL, (vectors) > 1 ? s1 + i : NULL,        \
                     (vectors) > 2 ? s2 + i : NULL, n);                                                       \
    }
EACH_RULE(UPDATE)

/* average += share (theta - average). Words: average, theta, where the share is, units, entries. */
EXPORT void FN(follow)(const word *a, word part, word parts)
{
    REAL *average = AT(REAL, 1);
    const REAL *theta = AT(const REAL, 2), toward = (REAL)*AT(const double, 3);
    INDEPENDENT for ENTRIES(i, a[4], a[5]) average[i] += toward * (theta[i] - average[i]);
}
