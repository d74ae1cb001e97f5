/* Matrix products: small tiles of the result are summed up in registers, straight from memory.
 *
 * A general BLAS copies both factors into an order that suits it before it multiplies. In a training step the batch is
 * short, and this copying takes up to half of the time; here the factors are read where they lie: rows of the weights
 * along k as X W^T needs them, rows of the batch or of the weights along j for the two gradients. Blocks along k keep
 * what is read again in the caches. A sum goes through k in a fixed order, so the bits depend on the shapes and on the
 * width of the processor's registers alone.
 */
#if !defined PRODUCTS
#define PRODUCTS
enum {
    TALL = REGISTERS / 4,                  /* rows of an outer tile; it is two registers wide */
    DOT_ROWS = REGISTERS / 8,
    DOT_COLUMNS = 4,
    BLOCK = 256,                           /* length of a block along k: a panel of it just fits into the first cache */
    BAND = 128,                            /* rows that are multiplied with everything before the next ones are */
    PACKED = 8,                            /* registers of columns from which on it pays to pack rows of A */
    SCRATCH = 8 * BAND * (2 * BLOCK + 16), /* bytes of memory of its own that each thread needs */
    FLOORS = 9,                            /* of the tree of BLOCK shards */
};
#endif

/* total += A(i, k) B[k, j] for the k from `start` to `stop`, `rows` rows i and `columns` registers of j. A(i, k) is row i +
 * step k numbers on from A; rows of B, whole registers, are ldb numbers apart. */
INLINE void FN(add_products)(VEC total[TALL][2], const int rows, const int columns, const REAL *A, word row, word step,
                             const REAL *B, word ldb, word start, word stop)
{
    for (word k = start; k < stop; k++) {
        VEC b[2];
        UNROLLED for (int j = 0; j < columns; j++)
            b[j] = FN(load)(B + ldb * k + LANES * j);
        UNROLLED for (int i = 0; i < rows; i++) {
            VEC a = FN(everywhere)(A[row * i + step * k]);
            UNROLLED for (int j = 0; j < columns; j++)
                total[i][j] = FN(add_product)(a, b[j], total[i][j]);
        }
    }
}

/* The sums of a tile to C, whose rows are ldc numbers apart; of the last register `left` numbers count, unless it is
 * `whole`. */
INLINE void FN(store_tile)(VEC total[TALL][2], const int rows, const int columns, REAL *C, word ldc, const bool whole,
                           word left)
{
    UNROLLED for (int i = 0; i < rows; i++)
        UNROLLED for (int j = 0; j < columns; j++) {
            if (whole || j < columns - 1)
                FN(store)(C + ldc * i + LANES * j, total[i][j]);
            else
                FN(store_first)(C + ldc * i + LANES * j, total[i][j], left);
        }
}

/* C[i, j] (+)= sum over k of A(i, k) B[k, j]. */
INLINE void FN(outer_tile)(const int rows, const int columns, const REAL *A, word row, word step, const REAL *B,
                           word ldb, REAL *C, word ldc, word length, bool add, const bool whole, word left)
{
    VEC total[TALL][2];
    UNROLLED for (int i = 0; i < rows; i++)
        UNROLLED for (int j = 0; j < columns; j++) {
            total[i][j] = (VEC){0};
            if (add)
                total[i][j] = whole || j < columns - 1 ? FN(load)(C + ldc * i + LANES * j)
                                                       : FN(load_first)(C + ldc * i + LANES * j, left);
        }
    FN(add_products)(total, rows, columns, A, row, step, B, ldb, 0, length);
    FN(store_tile)(total, rows, columns, C, ldc, whole, left);
}

/* The same, k in shards that end at `ends`: the sums over two neighbours are added, then those over two pairs, and so
 * on. On each floor of this tree one sum at most waits for its neighbour, as in a binary counter. */
INLINE void FN(sharded_tile)(const int rows, const int columns, const REAL *A, word row, word step, const REAL *B,
                             word ldb, REAL *C, word ldc, const word *ends, word shards, const bool whole, word left)
{
    VEC waiting[FLOORS][TALL][2], total[TALL][2];
    word shard = 0;
    do {
        int floor = 0;
        UNROLLED for (int i = 0; i < rows; i++)
            UNROLLED for (int j = 0; j < columns; j++)
                total[i][j] = (VEC){0};
        FN(add_products)(total, rows, columns, A, row, step, B, ldb, shard ? ends[shard - 1] : 0, ends[shard]);
        for (; shard >> floor & 1; floor++)
            UNROLLED for (int i = 0; i < rows; i++)
                UNROLLED for (int j = 0; j < columns; j++)
                    total[i][j] = waiting[floor][i][j] + total[i][j];
        UNROLLED for (int i = 0; i < rows; i++)
            UNROLLED for (int j = 0; j < columns; j++)
                waiting[floor][i][j] = total[i][j];
    } while (++shard < shards);
    FN(store_tile)(total, rows, columns, C, ldc, whole, left);
}

/* C[i, j] (+)= sum over k of A[i, k] B[j, k], for `rows` rows i and `columns` rows j. */
INLINE void FN(dot_tile)(const int rows, const int columns, const REAL *A, word lda, const REAL *B, word ldb, REAL *C,
                         word ldc, word length, bool add)
{
    VEC total[DOT_ROWS * DOT_COLUMNS] = {{0}}, a[DOT_ROWS], b[DOT_COLUMNS];
    REAL sums[DOT_ROWS * DOT_COLUMNS];
    word k = 0;
#define STEP(LOAD)                                                                                   \
    UNROLLED for (int i = 0; i < rows; i++) a[i] = LOAD(A + lda * i + k);                            \
    UNROLLED for (int j = 0; j < columns; j++) b[j] = LOAD(B + ldb * j + k);                         \
    UNROLLED for (int i = 0; i < rows; i++) UNROLLED for (int j = 0; j < columns; j++)               \
        total[columns * i + j] = FN(add_product)(a[i], b[j], total[columns * i + j]);
#define PART(place) FN(load_first)(place, length - k)
    for (; k + LANES <= length; k += LANES) {
        STEP(FN(load))
    }
    if (k < length) {
        STEP(PART)
    }
#undef STEP
#undef PART
    FN(across)(total, rows * columns, sums);
    UNROLLED for (int i = 0; i < rows; i++)
        UNROLLED for (int j = 0; j < columns; j++)
            C[ldc * i + j] = (add ? C[ldc * i + j] : 0) + sums[columns * i + j];
}

/* Whether rows so many numbers apart are best copied before they are read `rows` times: a multiple of 1 KiB makes them
 * all compete for the same few places in a cache. */
static bool FN(far_apart)(word stride, word rows) { return rows >= 64 && stride * SIZE % 1024 == 0; }

/* [rows, columns] of source, rows `stride` numbers apart, to target, `width` apart. */
static void FN(copy)(const REAL *source, word stride, word rows, word columns, REAL *target, word width)
{
    for (word i = 0; i < rows; i++)
        memcpy(target + width * i, source + stride * i, (size_t)columns * sizeof(REAL));
}

/* `rows` rows of source, `stride` numbers apart, at most LANES of them and `length` long, become as many columns of
 * target, whose rows are `width` apart. Vectors change places in pairs, then pairs of them, and so on. */
INLINE void FN(turn)(const REAL *source, word stride, word rows, word length, REAL *target, word width)
{
    for (word k = 0; k < length; k += LANES) {
        const word left = least(LANES, length - k);
        VEC v[LANES];
        UNROLLED for (int i = 0; i < LANES; i++)
            v[i] = i >= rows       ? (VEC){0}
                   : left == LANES ? FN(load)(source + stride * i + k)
                                   : FN(load_first)(source + stride * i + k, left);
#define SWAP(step)                                                                       \
    UNROLLED for (int i = 0; i < LANES; i++) if (LANES > step && !(i & step)) {          \
        const VEC a = v[i], b = v[i | (step % LANES)];                                   \
        v[i] = SHUFFLE(LANE_NUMBERS, a, b, EACH(LEFT, step));                            \
        v[i | (step % LANES)] = SHUFFLE(LANE_NUMBERS, a, b, EACH(RIGHT, step));          \
    }
        SWAP(1)
        SWAP(2)
        SWAP(4)
        SWAP(8)
#undef SWAP
        UNROLLED for (int i = 0; i < LANES; i++)
            if (i < left)
                FN(store)(target + width * (k + i), v[i]);
    }
}

/* As many rows of the transposed A, `step` numbers apart, as a tile has, side by side: [rows / TALL, length, TALL] in
 * target, so that a tile reads on and on. Rows that do not fill a tile are left out. */
static void FN(pack)(const REAL *A, word step, word rows, word length, REAL *target)
{
    for (word k = 0; k < length; k++)
        for (word i = 0; i + TALL <= rows; i += TALL)
            memcpy(target + i * length + TALL * k, A + step * k + i, TALL * sizeof(REAL));
}

/* `left` columns of B from j on, `length` rows of it, as whole registers, where the tiles can read them: in B itself, or
 * in `scratch`. Tells how many numbers its rows are apart. */
INLINE const REAL *FN(strip)(const bool turned, const REAL *B, word ldb, word j, word left, word k0, word length,
                             word rows, REAL *scratch, word *apart)
{
    const word width = 2 * LANES;
    const REAL *there = B + ldb * k0 + j;
    *apart = turned || left < width || FN(far_apart)(ldb, rows) ? width : ldb;
    if (turned)
        for (word c = 0; c < left; c += LANES)
            FN(turn)(B + ldb * (j + c) + k0, ldb, least(LANES, left - c), length, scratch + c, width);
    else if (*apart == ldb)
        return there;
    else if (left == width)
        FN(copy)(there, ldb, length, width, scratch, width);
    else
        for (word k = 0; k < length; k++)
            for (word c = 0; c < left; c += LANES)
                FN(store)(scratch + width * k + c, FN(load_first)(there + ldb * k + c, least(LANES, left - c)));
    return scratch;
}

/* C [m, n] = A [m, k] B [k, n], or A B^T with B [n, k] if it is `turned`; A and its strides as for a tile; `scratch` has
 * SCRATCH bytes: for a strip of B, and behind it for rows of A. With `shards` k is at most BLOCK, and cut at `ends`. */
INLINE void FN(outer_product)(const bool turned, const REAL *A, word row, word step, const REAL *B, word ldb, REAL *C,
                              word ldc, word m, word n, word k, REAL *scratch, const word *ends, word shards)
{
    const bool packs = row == 1 && n >= PACKED * LANES;
    const word band = packs ? BAND * 8 / SIZE : m;
    REAL *packed = scratch + 2 * LANES * BLOCK;
    for (word k0 = 0; k0 < k || k0 == 0; k0 += BLOCK)
        for (word i0 = 0; i0 < m; i0 += band) {
            const word length = least(BLOCK, k - k0), rows = least(band, m - i0);
            const REAL *first = A + row * i0 + step * k0;
            const bool add = k0 > 0;
            if (packs)
                FN(pack)(first, step, rows, length, packed);
            for (word j = 0; j < n; j += 2 * LANES) {
                word left = least(n - j, 2 * LANES), apart, i = 0;
                const REAL *strip = FN(strip)(turned, B, ldb, j, left, k0, length, rows, scratch, &apart);
                REAL *c = C + ldc * i0 + j;
#define TILE(rows, columns, a, row, step, whole, left)                                                                \
    do {                                                                                                              \
        if (shards)                                                                                                   \
            FN(sharded_tile)(rows, columns, a, row, step, strip, apart, c + ldc * i, ldc, ends, shards, whole, left); \
        else                                                                                                          \
            FN(outer_tile)(rows, columns, a, row, step, strip, apart, c + ldc * i, ldc, length, add, whole, left);    \
    } while (0)
#define TILES(rows, a, row, step)                                   \
    do {                                                            \
        if (left == 2 * LANES)                                      \
            TILE(rows, 2, a, row, step, true, 0);                   \
        else if (left > LANES)                                      \
            TILE(rows, 2, a, row, step, false, left - LANES);       \
        else                                                        \
            TILE(rows, 1, a, row, step, false, left);               \
    } while (0)
                const REAL *tall = packs ? packed : first;
                const word along = packs ? length : row, on = packs ? TALL : step, next = packs ? 1 : row;
                for (; i + TALL <= rows; i += TALL)
                    TILES(TALL, tall + along * i, next, on);
                for (; i < rows; i++)
                    TILES(1, first + row * i, row, step);
#undef TILES
#undef TILE
            }
        }
}

/* C [m, n] = A [m, k] B^T, B [n, k]: rows of A, B and C are lda, ldb and ldc numbers apart; else as above. */
static void FN(dot_product)(const REAL *A, word lda, const REAL *B, word ldb, REAL *C, word ldc, word m, word n, word k,
                            REAL *scratch)
{
    for (word k0 = 0; k0 < k; k0 += 2 * BLOCK) {
        word length = least(2 * BLOCK, k - k0);
        bool add = k0 > 0;
        for (word i0 = 0; i0 < m; i0 += BAND) {
            word end = least(m, i0 + BAND), whole = end - (end - i0) % DOT_ROWS, ldx = lda, j = 0;
            const REAL *block = A + lda * i0 + k0;
            if (FN(far_apart)(lda, n)) {
                ldx = length + 16;
                FN(copy)(block, lda, end - i0, length, scratch, ldx);
                block = scratch;
            }
#define TILES(columns)                                                                                             \
    do {                                                                                                           \
        const REAL *b = B + ldb * j + k0;                                                                          \
        word i = i0;                                                                                               \
        for (; i < whole; i += DOT_ROWS)                                                                           \
            FN(dot_tile)(DOT_ROWS, columns, block + ldx * (i - i0), ldx, b, ldb, C + ldc * i + j, ldc, length, add); \
        for (; i < end; i++)                                                                                       \
            FN(dot_tile)(1, columns, block + ldx * (i - i0), ldx, b, ldb, C + ldc * i + j, ldc, length, add);      \
    } while (0)
            for (; j + DOT_COLUMNS <= n; j += DOT_COLUMNS)
                TILES(DOT_COLUMNS);
            for (; j < n; j++)
                TILES(1);
#undef TILES
        }
    }
}

/* --- instructions: C = A B or A B^T. Words: A [m, k], its steps to a row and to a column, B, its stride, C [m, n], its
 * stride, m, n, k, scratch of SCRATCH bytes for each part, where shards of k end, how many there are (0: k is whole),
 * whether columns of C are shared out, so that a thread reads its own columns of B only; else rows are. --- */

struct FN(piece) {
    const REAL *A, *B;
    REAL *C, *scratch;
    word m, n;
};

/* What a part makes of C, and of what; columns of the result are so many numbers apart in B. */
static inline struct FN(piece) FN(piece_of)(const word *a, word part, word parts, word apart)
{
    struct FN(piece) p = {AT(REAL, 1), AT(REAL, 4), AT(REAL, 6), AT(REAL, 11) + SCRATCH / SIZE * part, a[8], a[9]};
    word first, last;
    share(a[14] ? p.n : p.m, part, parts, &first, &last);
    if (a[14])
        p.B += apart * first, p.C += first, p.n = last - first;
    else
        p.A += a[2] * first, p.C += a[7] * first, p.m = last - first;
    return p;
}

/* A B. */
EXPORT void FN(outer)(const word *a, word part, word parts)
{
    const struct FN(piece) p = FN(piece_of)(a, part, parts, 1);
    FN(outer_product)(false, p.A, a[2], a[3], p.B, a[5], p.C, a[7], p.m, p.n, a[10], p.scratch, AT(const word, 12), a[13]);
}

/* A B^T, B turned piece by piece: for many rows and many columns. */
EXPORT void FN(turned)(const word *a, word part, word parts)
{
    const struct FN(piece) p = FN(piece_of)(a, part, parts, a[5]);
    FN(outer_product)(true, p.A, a[2], 1, p.B, a[5], p.C, a[7], p.m, p.n, a[10], p.scratch, NULL, 0);
}

/* A B^T. */
EXPORT void FN(dot)(const word *a, word part, word parts)
{
    const struct FN(piece) p = FN(piece_of)(a, part, parts, a[5]);
    FN(dot_product)(p.A, a[2], p.B, a[5], p.C, a[7], p.m, p.n, a[10], p.scratch);
}
