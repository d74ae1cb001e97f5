/* The losses of all rows and their gradients; of those of single outputs one kernel for every NAME. */

extern "C" __global__ void cross_entropy(const REAL *Z, const Int *Y, const REAL *w, REAL *losses, REAL *Delta,
                                         Int rows, Int classes, Int weighted, Int differentiated, REAL total,
                                         REAL smoothing, const double *given) {
    if (given) total = (REAL)*given;
    for EACH(i, rows) {
        const REAL *z = Z + i * classes;
        Int y = Y[i];
        REAL top = z[0], mean = 0, sum = 0, weight = weighted ? w[i] : 1;
        for (Int k = 1; k < classes; k++) top = z[k] > top ? z[k] : top;
        for (Int k = 0; k < classes; k++) {
            sum += exp(z[k] - top);
            mean += z[k];
        }
        REAL chosen = y >= 0 && y < classes ? z[y] : sqrt((REAL)-1); /* no class: not a number */
        losses[i] = weight * (log(sum) + top - (1 - smoothing) * chosen - smoothing * (mean / classes));
        if (!differentiated) continue;
        REAL factor = weight / total;
        for (Int k = 0; k < classes; k++) {
            REAL part = exp(z[k] - top) / sum - smoothing / classes;
            Delta[i * classes + k] = (part - (k == y ? 1 - smoothing : 0)) * factor;
        }
    }
}

extern "C" __global__ void loss_NAME(const REAL *Z, const REAL *Y, const REAL *w, REAL *losses, REAL *Delta, Int rows,
                                     Int outputs, Int weighted, Int differentiated, REAL total, REAL p,
                                     const double *given) {
    if (given) total = (REAL)*given;
    for EACH(i, rows) {
        REAL weight = (weighted ? w[i] : 1) / SHARES, factor = weight / total, sum = 0;
        for (Int k = i * outputs; k < (i + 1) * outputs; k++) {
            sum += FN(NAME_loss)(Z[k], Y[k], p);
            if (differentiated) Delta[k] = FN(NAME_loss_slope)(Z[k], Y[k], p) * factor;
        }
        losses[i] = weight * sum;
    }
}
