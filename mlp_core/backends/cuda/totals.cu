/* Sums over all there is, and what is done with them: the mean loss, penalties, lengths cut. */

/* The losses of all rows over their weight, into place `given_slot` of the ledger, or its first. */
extern "C" __global__ void mean_loss(const REAL *losses, double *ledger, double *room, Count *counters, Int rows,
                                     Int count, double total, const double *given_total, const double *given_slot) {
    for EACH(i, count) {
        double value = 0, sum;
        for (Int r = i; r < rows; r += count) value += losses[r];
        if (!sum_of(value, i, count, room, counters, &sum)) continue;
        ledger[given_slot ? (Int)*given_slot : 0] = sum / (given_total ? *given_total : total);
    }
}

/* l2 / 2 sum(x^2) + l1 sum(|x|) added to a loss, and its derivative to the gradient. */
extern "C" __global__ void penalty(const REAL *theta, REAL *grad, double *ledger, double *room, Count *counters,
                                   Int size, Int count, double l2, double l1, const double *given_slot) {
    for EACH(i, count) {
        double value = 0, sum;
        for (Int k = i; k < size; k += count) {
            REAL x = theta[k], sign = x > 0 ? 1 : x < 0 ? -1 : x;
            grad[k] += (REAL)l2 * x + (REAL)l1 * sign;
            value += (0.5 * l2 * x + l1 * sign) * x;
        }
        if (sum_of(value, i, count, room, counters, &sum)) ledger[given_slot ? (Int)*given_slot : 0] += sum;
    }
}

/* Rows cut to length `longest` where they are longer. */
extern "C" __global__ void shorten_rows(REAL *W, Int rows, Int columns, REAL longest) {
    for EACH(r, rows) {
        REAL square = 0;
        for (Int j = r * columns; j < (r + 1) * columns; j++) square += W[j] * W[j];
        REAL length = sqrt(square), ratio = longest / (length < (REAL)1e-30 ? (REAL)1e-30 : length);
        if (ratio >= 1) continue;
        for (Int j = r * columns; j < (r + 1) * columns; j++) W[j] *= ratio;
    }
}

extern "C" __global__ void square_sum(const REAL *x, double *sum, double *room, Count *counters, Int size, Int count) {
    for EACH(i, count) {
        double value = 0, all;
        for (Int k = i; k < size; k += count) value += (double)x[k] * x[k];
        if (sum_of(value, i, count, room, counters, &all)) *sum = all;
    }
}

/* A vector of length sqrt(square), cut to length `longest` where it is longer; not a number where that is none. */
extern "C" __global__ void shorten(REAL *x, const double *square, Int size, double longest) {
    double length = sqrt(*square), ratio = longest / (length < 1e-300 ? 1e-300 : length);
    REAL factor = ratio >= 1 ? (REAL)1 : (REAL)ratio;
    for EACH(i, size) x[i] *= factor;
}
