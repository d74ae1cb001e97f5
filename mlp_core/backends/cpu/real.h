/* One kind of number: what REAL is and what it can do. `kernels.c` includes this and all that follows it twice, with
 * DOUBLE 0 and 1.
 *
 * The functions are written without branches and calls, so that loops of them become vectors. FMA(a, b, c) is a b + c,
 * rounded once where the processor can: written out, and never left to the compiler, so that the bits of a result do
 * not depend on how a loop was cut. OWN(name) is the library's function for this type, INTRINSIC(name) the processor's
 * instruction for vectors of it.
 */
#undef REAL
#undef FN
#undef BITS
#undef SIZE
#undef OWN
#undef INTRINSIC

#if DOUBLE
#define REAL double
#define FN(name) name##_d
#define BITS int64_t
#define SIZE 8
#define OWN(name) name
#define INTRINSIC(name) name##_pd
#else
#define REAL float
#define FN(name) name##_f
#define BITS int32_t
#define SIZE 4
#define OWN(name) name##f
#define INTRINSIC(name) name##_ps
#endif
#define SQRT OWN(__builtin_sqrt)
#define ABS OWN(__builtin_fabs)
#define SIN OWN(sin)
#define COS OWN(cos)
#if defined __FMA__ || defined __AVX512F__ || defined __ARM_FEATURE_FMA
#define FMA(a, b, c) OWN(__builtin_fma)(a, b, c)
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#endif

#define EXP FN(exponential)
#define EXPM1 FN(exponential_less_1)
#define LOG1P FN(log_1_plus)
#define TANH FN(hyperbolic_tangent)
#define PHI FN(normal)

/* x = k ln 2 + r with the smallest |r|: 2^k, and e^r - 1 into *q. |x| must be small enough for 2^k to be normal.
 *
 * A number so large that only whole ones are left after it is added rounds x / ln 2, and holds k in its last bits.
 * e^r - 1 is Taylor's series in Horner's form, as far as the digits of the type go. */
INLINE REAL FN(power)(REAL x, REAL *q)
{
    const REAL magic = DOUBLE ? (REAL)6755399441055744.0 : (REAL)12582912.0; /* 1.5 * 2^52, 1.5 * 2^23 */
    REAL t = FMA(x, (REAL)1.4426950408889634, magic), k = t - magic, scale, s;
    REAL r = FMA(k, (REAL)-0.693145751953125, x);
    BITS bits;
    double factorial = DOUBLE ? 6227020800.0 : 5040.0; /* of 13 or 7, where the series ends; exact, as those below it */
    r = FMA(k, (REAL)-1.4286068203094173e-06, r);
    memcpy(&bits, &t, sizeof bits);
    bits = (BITS)((DOUBLE ? (uint64_t)bits + 1023 : (uint32_t)bits + 127) << (DOUBLE ? 52 : 23));
    memcpy(&scale, &bits, sizeof bits);
    s = (REAL)(1 / factorial);
    UNROLLED for (int n = DOUBLE ? 13 : 7; n > 2; n--) {
        factorial /= n;
        s = FMA(s, r, (REAL)(1 / factorial));
    }
    *q = FMA(s * r, r, r);
    return scale;
}

/* e^x */
INLINE REAL FN(exponential)(REAL x)
{
    const REAL low = DOUBLE ? (REAL)-708 : (REAL)-87, high = DOUBLE ? (REAL)709 : (REAL)88;
    REAL inside = x < low ? low : x > high ? high : x, q, scale = FN(power)(inside, &q);
    REAL value = FMA(scale, q, scale);
    return x < low ? (REAL)0 : x > high ? (REAL)INFINITY : value;
}

/* e^x - 1, with all digits near 0; for x <= 40 */
INLINE REAL FN(exponential_less_1)(REAL x)
{
    REAL q, scale = FN(power)(x < -80 ? (REAL)-80 : x, &q);
    return FMA(scale, q, scale - 1);
}

INLINE REAL FN(hyperbolic_tangent)(REAL x)
{
    REAL twice = 2 * ABS(x), t = FN(exponential_less_1)(twice > 40 ? (REAL)40 : twice), a = t / (t + 2);
    return x >= 0 ? a : -a;
}

/* log(1 + x) for 0 <= x <= 1: 2 artanh(x / (2 + x)), its series as far as the digits of the type go */
INLINE REAL FN(log_1_plus)(REAL x)
{
    REAL s = x / (2 + x), t = s * s, sum = (REAL)(1.0 / (DOUBLE ? 33 : 15));
    UNROLLED for (int k = DOUBLE ? 31 : 13; k > 1; k -= 2)
        sum = FMA(sum, t, (REAL)(1.0 / k));
    return 2 * FMA(sum * t, s, s);
}

/* The distribution function of the standard normal distribution, with all digits also where it is small: e below 0 and
 * 1 - e above, e = erfc(x) / 2, x = |z| / sqrt(2). erfc(x) = t exp(P - x^2) with t = 2 / (2 + x), P a polynomial in
 * u = 2 t - 1: the interpolation of log(erfc(x) / t) + x^2 in Chebyshev's points, computed with 50 digits. */
INLINE REAL FN(normal)(REAL z)
{
#if DOUBLE
    static const REAL P[] = {
        -1.58670429241380432e-9, -1.27760865549686768e-8, 3.97220354727379541e-8, 7.74557240875851218e-8,
        -3.16834136769414685e-7, -4.14685375466364141e-8, 1.32678136085188881e-6, -1.40944599143353104e-6,
        -3.00764543441066926e-6, 8.66253539747553871e-6, 1.6992332312277022e-7, -0.0000302378405400713708,
        0.0000317331059937706066, 0.0000714181043342230076, -0.00017429984933155645, -0.0000937389476766729489,
        0.000673678269706983146, -0.000146246287421284064, -0.0023458124448021561, 0.00175893350740280315,
        0.00882493855373876339, -0.00987268936409922162, -0.0468956102310830226, 0.0473433068418635223,
        0.672643223977655967, -0.671794084056692145,
    };
#else
    static const REAL P[] = {
        -8.728381022e-5, 8.000738162e-6, 0.000573766372, -0.000227910966, -0.002288765239, 0.00179406625,
        0.008808825369, -0.009880019324, -0.04689364056, 0.04734388761, 0.6726431548, -0.6717940917,
    };
#endif
    REAL x = ABS(z) * (REAL)0.70710678118654752440, t = 2 / (2 + x), u = 2 * t - 1, s = P[0], e;
    UNROLLED for (int k = 1; k < (int)(sizeof P / sizeof *P); k++)
        s = FMA(s, u, P[k]);
    e = (REAL)0.5 * t * EXP(FMA(-x, x, s));
    return z < 0 ? e : 1 - e;
}
