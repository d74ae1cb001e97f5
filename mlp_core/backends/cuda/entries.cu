/* Entry by entry: sums and products of arrays, entries cut, averages that follow, bfloat16. */

extern "C" __global__ void hadamard(const REAL *X, const REAL *M, REAL *out, Int size) {
    for EACH(i, size) out[i] = X[i] * M[i];
}

extern "C" __global__ void plus(const REAL *X, const REAL *Y, REAL *out, Int size) {
    for EACH(i, size) out[i] = X[i] + Y[i];
}

extern "C" __global__ void duplicate(const REAL *X, REAL *out, Int size) {
    for EACH(i, size) out[i] = X[i];
}

extern "C" __global__ void clip_value(REAL *x, Int size, REAL largest) {
    for EACH(i, size) x[i] = x[i] > largest ? largest : x[i] < -largest ? -largest : x[i];
}

extern "C" __global__ void follow(REAL *average, const REAL *theta, Int size, REAL share, const double *given) {
    if (given) share = (REAL)*given;
    for EACH(i, size) average[i] += share * (theta[i] - average[i]);
}

/* The nearest bfloat16, to even where two are as near: the upper half of a float's bits. */
extern "C" __global__ void narrow(const REAL *X, Bits *out, Int size, Int columns, Int distance) {
    for EACH(i, size) {
        union { float number; Count bits; } x;
        x.number = (float)X[over(i, columns) * distance + rest(i, columns)];
        Count up = 0x7FFFu + ((x.bits >> 16) & 1u);
        out[i] = (Bits)((x.number != x.number ? x.bits | 0x400000u : x.bits + up) >> 16);
    }
}
