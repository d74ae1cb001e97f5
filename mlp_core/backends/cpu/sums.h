/* Sums along a row, in a fixed order that can be done as vectors: eight in turn, then these. */

/* Of x[i] y[i], or of x[i] alone, where `products` is false and there is no y. */
INLINE double FN(sum_in_eights)(const bool products, const REAL *x, const REAL *y, word count)
{
    double part[8] = {0};
    const word whole = count & -8;
    for (word i = 0; i < whole; i += 8)
        for (int l = 0; l < 8; l++)
            part[l] += (double)x[i + l] * (products ? (double)y[i + l] : 1);
    for (word i = whole; i < count; i++)
        part[i - whole] += (double)x[i] * (products ? (double)y[i] : 1);
    return ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
}

/* Sum of x[i] y[i]. */
static inline double FN(sum_of_products)(const REAL *x, const REAL *y, word count)
{
    return FN(sum_in_eights)(true, x, y, count);
}

/* Sum of x[i]. */
static inline double FN(sum)(const REAL *x, word count) { return FN(sum_in_eights)(false, x, NULL, count); }
