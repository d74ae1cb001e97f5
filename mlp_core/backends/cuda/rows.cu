/* Rows of a batch, gathered or scaled, one kernel for every TYPE they are stored as; dropout's masks. */

extern "C" __global__ void gather_TYPE(const TYPE *X, const Int *rows, TYPE *out, Int size, Int columns, Int first,
                                       const double *given) {
    if (given) first = (Int)*given;
    for EACH(i, size) out[i] = X[rows[first + over(i, columns)] * columns + rest(i, columns)];
}

/* Rows as stored, scaled as on the host: in double, then rounded. */
extern "C" __global__ void scaled_TYPE(const TYPE *X, const Int *rows, const double *shift, const double *scale,
                                       REAL *out, Int size, Int columns, Int first, const double *given) {
    if (given) first = (Int)*given;
    for EACH(i, size) {
        Int j = rest(i, columns);
        out[i] = (REAL)(((double)X[rows[first + over(i, columns)] * columns + j] - shift[j]) * scale[j]);
    }
}

/* Philox4x64-10 (Salmon et al., SC 2011); numpy counts up before each block of four words, and takes two float32 from
   a word, the lower half first: the same masks as numpy's, bit for bit. One thread per block of eight entries. */
extern "C" __global__ void dropout_mask(REAL *mask, Int size, Word key0, Word key1, Word step, Word layer, float p,
                                        REAL scale, const double *given) {
    if (given) step = (Word)*given;
    for EACH(block, (size + 7) / 8) {
        Word c0 = block + 1, c1 = step, c2 = layer, c3 = 0, k0 = key0, k1 = key1;
        for (int round = 0; round < 10; round++) {
            Word high0 = __umul64hi(0xD2E7470EE14C6C93ull, c0), low0 = 0xD2E7470EE14C6C93ull * c0;
            Word high1 = __umul64hi(0xCA5A826395121157ull, c2), low1 = 0xCA5A826395121157ull * c2;
            c0 = high1 ^ c1 ^ k0;
            c1 = low1;
            c2 = high0 ^ c3 ^ k1;
            c3 = low0;
            k0 += 0x9E3779B97F4A7C15ull;
            k1 += 0xBB67AE8584CAA73Bull;
        }
        Word words[4] = {c0, c1, c2, c3};
        for (int j = 0; j < 8 && block * 8 + j < size; j++) {
            unsigned int half = (unsigned int)(words[j / 2] >> (j % 2 ? 32 : 0));
            mask[block * 8 + j] = (half >> 8) * (1.0f / 16777216.0f) >= p ? scale : (REAL)0;
        }
    }
}
