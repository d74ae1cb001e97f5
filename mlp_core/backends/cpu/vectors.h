/* Vectors as wide as a register of the processor: what the tiles of a matrix product are made of.
 *
 * GCC's and Clang's own vectors, with intrinsics only for what the language has no word for: a product that is added
 * and rounded once, and the first lanes of a vector in memory that goes no further.
 */
#if !defined BYTES
#if defined __AVX512F__
#define BYTES 64
#elif defined __AVX__
#define BYTES 32
#else
#define BYTES 16
#endif
#if BYTES == 64 || defined __aarch64__
#define REGISTERS 32
#else
#define REGISTERS 16
#endif
#if defined __clang__ || __GNUC__ >= 12
#define SHUFFLE(kind, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(kind, a, b, ...) __builtin_shuffle(a, b, (kind){__VA_ARGS__})
#endif
#define EACH_2(F, s) F(0, s), F(1, s)
#define EACH_4(F, s) EACH_2(F, s), F(2, s), F(3, s)
#define EACH_8(F, s) EACH_4(F, s), F(4, s), F(5, s), F(6, s), F(7, s)
#define EACH_16(F, s) EACH_8(F, s), F(8, s), F(9, s), F(10, s), F(11, s), F(12, s), F(13, s), F(14, s), F(15, s)
#define SAME(l, x) x
#define NUMBER(l, x) l
#define LEFT(l, s) ((l) & (s) ? LANES + ((l) & ~(s)) : ((l) & ~(s)))
#define RIGHT(l, s) (LEFT(l, s) + (s) % LANES) /* a step as long as a vector is never taken: % keeps its places valid */
#endif

#undef EACH
#define LANES (BYTES / SIZE)
#if LANES == 2
#define EACH EACH_2
#elif LANES == 4
#define EACH EACH_4
#elif LANES == 8
#define EACH EACH_8
#else
#define EACH EACH_16
#endif

typedef REAL FN(vec) __attribute__((vector_size(BYTES)));
typedef REAL FN(vec_there) __attribute__((vector_size(BYTES), aligned(SIZE), may_alias)); /* anywhere in memory */
typedef BITS FN(lanes) __attribute__((vector_size(BYTES)));
#define VEC FN(vec)
#define LANE_NUMBERS FN(lanes)

INLINE VEC FN(load)(const REAL *place) { return *(const FN(vec_there) *)place; }
INLINE void FN(store)(REAL *place, VEC v) { *(FN(vec_there) *)place = v; }
INLINE VEC FN(everywhere)(REAL x) { return (VEC){EACH(SAME, x)}; }

/* The first `count` lanes from memory, 0 in the others, whose memory is not touched. */
INLINE VEC FN(load_first)(const REAL *place, word count)
{
#if defined __AVX512F__
    return (VEC)INTRINSIC(_mm512_maskz_loadu)((__mmask16)((1u << count) - 1), place);
#elif defined __AVX__
    return (VEC)INTRINSIC(_mm256_maskload)(place, (__m256i)((LANE_NUMBERS){EACH(NUMBER, 0)} < (BITS)count));
#else
    VEC v = {0};
    for (word l = 0; l < count; l++)
        v[l] = place[l];
    return v;
#endif
}

INLINE void FN(store_first)(REAL *place, VEC v, word count)
{
#if defined __AVX512F__
    INTRINSIC(_mm512_mask_storeu)(place, (__mmask16)((1u << count) - 1), v);
#elif defined __AVX__
    INTRINSIC(_mm256_maskstore)(place, (__m256i)((LANE_NUMBERS){EACH(NUMBER, 0)} < (BITS)count), v);
#else
    for (word l = 0; l < count; l++)
        place[l] = v[l];
#endif
}

/* a b + c */
INLINE VEC FN(add_product)(VEC a, VEC b, VEC c)
{
#if defined __AVX512F__
    return (VEC)INTRINSIC(_mm512_fmadd)(a, b, c);
#elif defined __FMA__
    return (VEC)INTRINSIC(_mm256_fmadd)(a, b, c);
#elif defined __aarch64__ && DOUBLE
    return (VEC)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#elif defined __aarch64__
    return (VEC)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

/* One vector whose lanes alternate between sums of a and of b over twice as many lanes as before: `step` of each. */
#define FOLD(a, b, step) \
    (SHUFFLE(LANE_NUMBERS, a, b, EACH(LEFT, step)) + SHUFFLE(LANE_NUMBERS, a, b, EACH(RIGHT, step)))

/* The sums over the lanes of `count` vectors, as the first numbers of `sums`; overwrites the vectors.
 * In each round two vectors become one, as long as there are two; then each for itself. */
INLINE void FN(across)(VEC *v, const int count, REAL *sums)
{
    int left = count;
#define ROUND(step)                                      \
    if (LANES > step) {                                  \
        if (left % 2 == 0) {                             \
            left /= 2;                                   \
            UNROLLED for (int i = 0; i < left; i++)      \
                v[i] = FOLD(v[2 * i], v[2 * i + 1], step); \
        } else {                                         \
            UNROLLED for (int i = 0; i < left; i++)      \
                v[i] = FOLD(v[i], v[i], step);           \
        }                                                \
    }
    ROUND(1)
    ROUND(2)
    ROUND(4)
    ROUND(8)
#undef ROUND
    UNROLLED for (int i = 0; i < count; i++)
        sums[i] = v[i / (count / left)][i % (count / left)];
}
