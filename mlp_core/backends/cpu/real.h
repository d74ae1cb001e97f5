/* One kind of number: what REAL is and what it can do. `kernels.c` includes this and all that follows it twice, with
 * DOUBLE 0 and 1.
 *
 * The functions are written without branches and calls, so that loops of them become vectors. FMA(a, b, c) is a b + c,
 * rounded once where the processor can: written out, and never left to the compiler, so that the bits of a result do
 * not depend on how a loop was cut.
 */
#undef REAL
#undef FN
#undef BITS
#undef SIZE
#undef FMA
#undef FUSED
#undef SQRT
#undef SIN
#undef COS
#undef ABS

#if DOUBLE
#define REAL double
#define FN(name) name##_d
#define BITS int64_t
#define SIZE 8
#define SQRT __builtin_sqrt
#define ABS __builtin_fabs
#define SIN sin
#define COS cos
#define FUSED __builtin_fma
#else
#define REAL float
#define FN(name) name##_f
#define BITS int32_t
#define SIZE 4
#define SQRT __builtin_sqrtf
#define ABS __builtin_fabsf
#define SIN sinf
#define COS cosf
#define FUSED __builtin_fmaf
#endif
#if defined __FMA__ || defined __AVX512F__ || defined __ARM_FEATURE_FMA
#define FMA(a, b, c) FUSED(a, b, c)
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
    r = FMA(k, (REAL)-1.4286068203094173e-06, r);
    memcpy(&bits, &t, sizeof bits);
    bits = (BITS)((DOUBLE ? (uint64_t)bits + 1023 : (uint32_t)bits + 127) << (DOUBLE ? 52 : 23));
    memcpy(&scale, &bits, sizeof bits);
#if DOUBLE
    s = FMA((REAL)(1.0 / 6227020800), r, (REAL)(1.0 / 479001600));
    s = FMA(s, r, (REAL)(1.0 / 39916800));
    s = FMA(s, r, (REAL)(1.0 / 3628800));
    s = FMA(s, r, (REAL)(1.0 / 362880));
    s = FMA(s, r, (REAL)(1.0 / 40320));
    s = FMA(s, r, (REAL)(1.0 / 5040));
#else
    s = (REAL)(1.0 / 5040);
#endif
    s = FMA(s, r, (REAL)(1.0 / 720));
    s = FMA(s, r, (REAL)(1.0 / 120));
    s = FMA(s, r, (REAL)(1.0 / 24));
    s = FMA(s, r, (REAL)(1.0 / 6));
    s = FMA(s, r, (REAL)0.5);
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
    REAL s = x / (2 + x), t = s * s, sum;
#if DOUBLE
    sum = FMA((REAL)(1.0 / 33), t, (REAL)(1.0 / 31));
    sum = FMA(sum, t, (REAL)(1.0 / 29));
    sum = FMA(sum, t, (REAL)(1.0 / 27));
    sum = FMA(sum, t, (REAL)(1.0 / 25));
    sum = FMA(sum, t, (REAL)(1.0 / 23));
    sum = FMA(sum, t, (REAL)(1.0 / 21));
    sum = FMA(sum, t, (REAL)(1.0 / 19));
    sum = FMA(sum, t, (REAL)(1.0 / 17));
    sum = FMA(sum, t, (REAL)(1.0 / 15));
#else
    sum = (REAL)(1.0 / 15);
#endif
    sum = FMA(sum, t, (REAL)(1.0 / 13));
    sum = FMA(sum, t, (REAL)(1.0 / 11));
    sum = FMA(sum, t, (REAL)(1.0 / 9));
    sum = FMA(sum, t, (REAL)(1.0 / 7));
    sum = FMA(sum, t, (REAL)(1.0 / 5));
    sum = FMA(sum, t, (REAL)(1.0 / 3));
    return 2 * FMA(sum * t, s, s);
}

/* The distribution function of the standard normal distribution, with all digits also where it is small: e below 0 and
 * 1 - e above, e = erfc(x) / 2, x = |z| / sqrt(2). erfc(x) = t exp(P - x^2) with t = 2 / (2 + x), P a polynomial in
 * u = 2 t - 1: the interpolation of log(erfc(x) / t) + x^2 in Chebyshev's points, computed with 50 digits. */
INLINE REAL FN(normal)(REAL z)
{
    REAL x = ABS(z) * (REAL)0.70710678118654752440, t = 2 / (2 + x), u = 2 * t - 1, s, e;
#if DOUBLE
    s = FMA((REAL)-1.58670429241380432e-9, u, (REAL)-1.27760865549686768e-8);
    s = FMA(s, u, (REAL)3.97220354727379541e-8);
    s = FMA(s, u, (REAL)7.74557240875851218e-8);
    s = FMA(s, u, (REAL)-3.16834136769414685e-7);
    s = FMA(s, u, (REAL)-4.14685375466364141e-8);
    s = FMA(s, u, (REAL)1.32678136085188881e-6);
    s = FMA(s, u, (REAL)-1.40944599143353104e-6);
    s = FMA(s, u, (REAL)-3.00764543441066926e-6);
    s = FMA(s, u, (REAL)8.66253539747553871e-6);
    s = FMA(s, u, (REAL)1.6992332312277022e-7);
    s = FMA(s, u, (REAL)-0.0000302378405400713708);
    s = FMA(s, u, (REAL)0.0000317331059937706066);
    s = FMA(s, u, (REAL)0.0000714181043342230076);
    s = FMA(s, u, (REAL)-0.00017429984933155645);
    s = FMA(s, u, (REAL)-0.0000937389476766729489);
    s = FMA(s, u, (REAL)0.000673678269706983146);
    s = FMA(s, u, (REAL)-0.000146246287421284064);
    s = FMA(s, u, (REAL)-0.0023458124448021561);
    s = FMA(s, u, (REAL)0.00175893350740280315);
    s = FMA(s, u, (REAL)0.00882493855373876339);
    s = FMA(s, u, (REAL)-0.00987268936409922162);
    s = FMA(s, u, (REAL)-0.0468956102310830226);
    s = FMA(s, u, (REAL)0.0473433068418635223);
    s = FMA(s, u, (REAL)0.672643223977655967);
    s = FMA(s, u, (REAL)-0.671794084056692145);
#else
    s = FMA((REAL)-8.728381022e-5, u, (REAL)8.000738162e-6);
    s = FMA(s, u, (REAL)0.000573766372);
    s = FMA(s, u, (REAL)-0.000227910966);
    s = FMA(s, u, (REAL)-0.002288765239);
    s = FMA(s, u, (REAL)0.00179406625);
    s = FMA(s, u, (REAL)0.008808825369);
    s = FMA(s, u, (REAL)-0.009880019324);
    s = FMA(s, u, (REAL)-0.04689364056);
    s = FMA(s, u, (REAL)0.04734388761);
    s = FMA(s, u, (REAL)0.6726431548);
    s = FMA(s, u, (REAL)-0.6717940917);
#endif
    e = (REAL)0.5 * t * EXP(FMA(-x, x, s));
    return z < 0 ? e : 1 - e;
}
