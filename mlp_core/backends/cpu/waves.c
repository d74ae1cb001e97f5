/* Periodic embeddings of numbers: of a row's n inputs the first k stand beside s learned waves each.
 *
 * A [rows, m] is X [rows, n], and behind it V cos(2 pi u x + c) + d of each x. u, c [k, f], V [k, s, f], d [k, s] lie
 * one behind the other in theta, from u on, and their gradients in the same way from du on. The lanes of a vector are
 * frequencies; where they are fewer, those left over have a V of 0.
 */

enum { FN(ROWS_AT_ONCE) = 8 };

/* cos and sin of 2 pi t. t is k half turns and at most a quarter more, r: (-1)^k cos(2 pi r), and sin alike, by Taylor's
 * series as far as the digits of the type go. The number that rounds 2 t holds k in its last bits. */
INLINE void FN(wave)(VEC t, VEC *cosine, VEC *sine)
{
    const VEC magic = FN(everywhere)(DOUBLE ? (REAL)6755399441055744.0 : (REAL)12582912.0); /* 1.5 * 2^52, 1.5 * 2^23 */
    const VEC held = FN(add_product)(t, FN(everywhere)(2), magic);
    const VEC r = FN(add_product)(held - magic, FN(everywhere)((REAL)-0.5), t), z = r * (REAL)6.2831853071795864769;
    const VEC y = z * z;
    const LANE_NUMBERS odd = (LANE_NUMBERS)held << (8 * SIZE - 1);
    double factorial = DOUBLE ? -1124000727777607680000.0 : 479001600.0; /* of 2 k, times (-1)^k; exact up to that of 22 */
    VEC c = FN(everywhere)((REAL)(1 / factorial));
    VEC s = FN(everywhere)((REAL)(1 / (factorial * (DOUBLE ? 23 : 13))));
    UNROLLED for (int k = DOUBLE ? 10 : 5; k >= 0; k--) {
        factorial /= -(2 * k + 1) * (2 * k + 2);
        c = FN(add_product)(c, y, FN(everywhere)((REAL)(1 / factorial)));
        s = FN(add_product)(s, y, FN(everywhere)((REAL)(1 / (factorial * (2 * k + 1)))));
    }
    *cosine = (VEC)((LANE_NUMBERS)c ^ odd);
    *sine = (VEC)((LANE_NUMBERS)(s * z) ^ odd);
}

/* `left` numbers from a place, at most a vector of them, and 0 behind. */
INLINE VEC FN(load_some)(const REAL *place, word left)
{
    return left >= LANES ? FN(load)(place) : FN(load_first)(place, left);
}

/* A row's waves of one x, added to what is there, for `rows` rows. */
INLINE void FN(add_waves)(const int rows, const REAL *x, word n, REAL *A, word m, const REAL *u, const REAL *c,
                          const REAL *V, word f, word s)
{
    for (word q = 0; q < f; q += LANES) {
        const VEC speed = FN(load_some)(u + q, f - q);
        const VEC start = FN(load_some)(c + q, f - q) * (REAL)0.15915494309189533577; /* 1 / (2 pi) */
        VEC C[FN(ROWS_AT_ONCE)], unused;
        UNROLLED for (int i = 0; i < rows; i++)
            FN(wave)(FN(add_product)(speed, FN(everywhere)(x[n * i]), start), &C[i], &unused);
        for (word k = 0; k < s; k++) {
            const VEC v = FN(load_some)(V + f * k + q, f - q);
            VEC terms[FN(ROWS_AT_ONCE)];
            REAL sums[FN(ROWS_AT_ONCE)];
            UNROLLED for (int i = 0; i < rows; i++)
                terms[i] = C[i] * v;
            FN(across)(terms, rows, sums);
            UNROLLED for (int i = 0; i < rows; i++)
                A[m * i + k] += sums[i];
        }
    }
}

/* Words: X, n, A, rows, m, u, k, f, s. Rows are shared out. */
EXPORT void FN(waves)(const word *a, word part, word parts)
{
    const word n = a[2], m = a[5], count = a[7], f = a[8], s = a[9];
    const REAL *X = AT(const REAL, 1), *u = AT(const REAL, 6), *c = u + count * f, *V = c + count * f;
    const REAL *d = V + count * s * f;
    REAL *A = AT(REAL, 3);
    word first, last, whole;
    share(a[4], part, parts, &first, &last);
    whole = last - (last - first) % FN(ROWS_AT_ONCE);
    for (word i = first; i < last; i++) {
        memcpy(A + m * i, X + n * i, (size_t)n * sizeof(REAL));
        memcpy(A + m * i + n, d, (size_t)(count * s) * sizeof(REAL));
    }
    for (word k = 0; k < count; k++) {
        word i = first;
        for (; i < whole; i += FN(ROWS_AT_ONCE))
            FN(add_waves)(FN(ROWS_AT_ONCE), X + n * i + k, n, A + m * i + n + s * k, m, u + f * k, c + f * k,
                          V + s * f * k, f, s);
        for (; i < last; i++)
            FN(add_waves)(1, X + n * i + k, n, A + m * i + n + s * k, m, u + f * k, c + f * k, V + s * f * k, f, s);
    }
}

/* dV of `count` of the s waves of one x, from the first of them on, and with them du and dc where they are asked for. */
INLINE void FN(wave_gradient)(const int count, const word *a, word q, word k, word first, REAL *du, REAL *dc, REAL *dV)
{
    const word n = a[2], m = a[5], f = a[8], s = a[9], left = f - q;
    const REAL *x = AT(const REAL, 1) + k, *D = AT(const REAL, 3) + n + s * k;
    const REAL *u = AT(const REAL, 6) + f * k + q, *c = u + a[7] * f, *V = AT(const REAL, 6) + (2 * a[7] + s * k) * f + q;
    const VEC speed = FN(load_some)(u, left), start = FN(load_some)(c, left) * (REAL)0.15915494309189533577;
    VEC fast = {0}, late = {0}, heavy[4] = {{0}}, own[4], C, S, along;
    UNROLLED for (int j = 0; j < count; j++)
        own[j] = FN(load_some)(V + f * (first + j), left);
    for (word i = 0; i < a[4]; i++) {
        const VEC here = FN(everywhere)(x[n * i]);
        along = (VEC){0};
        FN(wave)(FN(add_product)(speed, here, start), &C, &S);
        for (word j = count == s ? s : 0; j < s; j++)
            along = FN(add_product)(FN(everywhere)(D[m * i + j]), FN(load_some)(V + f * j, left), along);
        UNROLLED for (int j = 0; j < count; j++) {
            const VEC delta = FN(everywhere)(D[m * i + first + j]);
            if (count == s)
                along = FN(add_product)(delta, own[j], along);
            heavy[j] = FN(add_product)(delta, C, heavy[j]);
        }
        along *= -S;
        late += along;
        fast = FN(add_product)(along, here, fast);
    }
    fast *= (REAL)6.2831853071795864769;
#define KEEP(place, v) left >= LANES ? FN(store)(place, v) : FN(store_first)(place, v, left)
    KEEP(du + q, fast);
    KEEP(dc + q, late);
    UNROLLED for (int j = 0; j < count; j++)
        KEEP(dV + f * (first + j) + q, heavy[j]);
#undef KEEP
}

/* All four gradients. Words: X, n, Delta, rows, m, u, k, f, s, du. The k are shared out. */
EXPORT void FN(waves_gradient)(const word *a, word part, word parts)
{
    const word n = a[2], rows = a[4], m = a[5], f = a[8], s = a[9];
    REAL *du = AT(REAL, 10), *dc = du + a[7] * f, *dV = dc + a[7] * f, *dd = dV + a[7] * s * f;
    const REAL *D = AT(const REAL, 3) + n;
    word first, last;
    share(a[7], part, parts, &first, &last);
    for (word k = s * first; k < s * last; k++) {
        double sum = 0;
        for (word i = 0; i < rows; i++)
            sum += (double)D[m * i + k];
        dd[k] = (REAL)sum;
    }
    for (word k = first; k < last; k++)
        for (word q = 0; q < f; q += LANES)
            for (word j = 0; j < s; j += 4) {
#define OF(count) FN(wave_gradient)(count, a, q, k, j, du + f * k, dc + f * k, dV + s * f * k)
                switch (least(4, s - j)) {
                case 4: OF(4); break;
                case 3: OF(3); break;
                case 2: OF(2); break;
                default: OF(1);
                }
#undef OF
            }
}
