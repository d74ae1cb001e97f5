/* Tables of words: rows looked up, and what comes back to them. */

extern "C" __global__ void left_columns(const REAL *X, REAL *A, Int size, Int columns, Int from, Int to) {
    for EACH(i, size) A[over(i, columns) * to + rest(i, columns)] = X[over(i, columns) * from + rest(i, columns)];
}

extern "C" __global__ void look_up(const REAL *X, const REAL *E, Int *codes, REAL *A, Int rows, Int words, Int dim,
                                   Int inputs, Int place, Int units, Int start) {
    for EACH(i, rows * dim) {
        Int r = over(i, dim), j = rest(i, dim);
        REAL x = rint(X[r * inputs + place]);
        Int code = x > 0 ? x < words ? (Int)x : words - 1 : 0;
        if (j == 0) codes[r] = code;
        A[r * units + start + j] = E[code * dim + j];
    }
}

extern "C" __global__ void clear(REAL *x, Int size) {
    for EACH(i, size) x[i] = 0;
}

/* The rows of each code, summed in their order by the thread of the first of them: no atomics, so always alike. */
extern "C" __global__ void add_rows(REAL *table, const Int *codes, const REAL *X, Int rows, Int columns, Int distance) {
    for EACH(i, rows * columns) {
        Int r = over(i, columns), j = rest(i, columns), code = codes[r], q = 0;
        while (q < r && codes[q] != code) q++;
        if (q < r) continue;
        REAL sum = 0;
        for (; q < rows; q++) sum += codes[q] == code ? X[q * distance + j] : 0;
        table[code * columns + j] = sum;
    }
}
