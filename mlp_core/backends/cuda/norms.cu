/* Norms: mean and spread of columns or of rows, and the way back. */

extern "C" __global__ void column_mean(const REAL *X, REAL *mean, REAL *room, Count *counters, Int rows, Int columns,
                                       Int parts) {
    for EACH(i, parts * columns) {
        Int part = over(i, columns), j = rest(i, columns), length = (rows + parts - 1) / parts;
        Int end = (part + 1) * length < rows ? (part + 1) * length : rows;
        REAL sum = 0;
        for (Int r = part * length; r < end; r++) sum += X[r * columns + j];
        room[i] = sum;
        if (!last_of(counters + j, (Count)parts)) continue;
        sum = 0;
        for (Int k = 0; k < parts; k++) sum += __ldcg(room + k * columns + j);
        mean[j] = sum / rows;
    }
}

extern "C" __global__ void column_spread(const REAL *X, const REAL *mean, REAL *H, REAL *inverse, REAL *running_mean,
                                         REAL *running_var, REAL *room, Count *counters, Int rows, Int columns,
                                         Int parts, Int record, REAL eps, REAL momentum, REAL unbiased) {
    for EACH(i, parts * columns) {
        Int part = over(i, columns), j = rest(i, columns), length = (rows + parts - 1) / parts;
        Int end = (part + 1) * length < rows ? (part + 1) * length : rows;
        REAL sum = 0, middle = mean[j];
        for (Int r = part * length; r < end; r++) {
            REAL h = X[r * columns + j] - middle;
            H[r * columns + j] = h;
            sum += h * h;
        }
        room[i] = sum;
        if (!last_of(counters + j, (Count)parts)) continue;
        sum = 0;
        for (Int k = 0; k < parts; k++) sum += __ldcg(room + k * columns + j);
        sum /= rows;
        inverse[j] = 1 / sqrt(sum + eps);
        if (!record) continue;
        running_mean[j] += momentum * (middle - running_mean[j]);
        running_var[j] += momentum * (sum * unbiased - running_var[j]);
    }
}

extern "C" __global__ void row_spread(const REAL *X, REAL *H, REAL *inverse, Int rows, Int columns, Int centred,
                                      REAL eps) {
    for EACH(r, rows) {
        REAL mean = 0, sum = 0;
        if (centred) {
            for (Int j = r * columns; j < (r + 1) * columns; j++) mean += X[j];
            mean /= columns;
        }
        for (Int j = r * columns; j < (r + 1) * columns; j++) {
            REAL h = X[j] - mean;
            H[j] = h;
            sum += h * h;
        }
        inverse[r] = 1 / sqrt(sum / columns + eps);
    }
}

extern "C" __global__ void normalized(REAL *H, const REAL *inverse, const REAL *gain, const REAL *shift, REAL *A,
                                      Int size, Int columns, Int by_row, Int centred) {
    for EACH(i, size) {
        Int j = rest(i, columns);
        REAL h = H[i] * inverse[by_row ? over(i, columns) : j], a = h * gain[j];
        H[i] = h;
        A[i] = centred ? a + shift[j] : a;
    }
}

extern "C" __global__ void norm_sums(const REAL *Delta, const REAL *H, REAL *dgain, REAL *dshift, REAL *room,
                                     Count *counters, Int rows, Int columns, Int parts, Int centred) {
    for EACH(i, parts * columns) {
        Int part = over(i, columns), j = rest(i, columns), length = (rows + parts - 1) / parts;
        Int end = (part + 1) * length < rows ? (part + 1) * length : rows;
        REAL along = 0, sum = 0, *other = room + parts * columns;
        for (Int r = part * length; r < end; r++) {
            along += Delta[r * columns + j] * H[r * columns + j];
            sum += Delta[r * columns + j];
        }
        room[i] = along;
        other[i] = sum;
        if (!last_of(counters + j, (Count)parts)) continue;
        along = sum = 0;
        for (Int k = 0; k < parts; k++) {
            along += __ldcg(room + k * columns + j);
            sum += __ldcg(other + k * columns + j);
        }
        dgain[j] = along;
        if (centred) dshift[j] = sum;
    }
}

/* The variance of a column depends on all its rows, and so does the mean. */
extern "C" __global__ void norm_columns(REAL *Delta, const REAL *H, const REAL *gain, const REAL *inverse,
                                        const REAL *dgain, const REAL *dshift, Int size, Int rows, Int columns) {
    for EACH(i, size) {
        Int j = rest(i, columns);
        Delta[i] = (Delta[i] - dshift[j] / rows - H[i] * (dgain[j] / rows)) * gain[j] * inverse[j];
    }
}

extern "C" __global__ void norm_rows(REAL *Delta, const REAL *H, const REAL *gain, const REAL *inverse, Int rows,
                                     Int columns, Int centred) {
    for EACH(r, rows) {
        REAL along = 0, sum = 0;
        for (Int j = 0; j < columns; j++) {
            REAL d = Delta[r * columns + j] * gain[j];
            along += d * H[r * columns + j];
            sum += d;
        }
        along /= columns;
        sum = centred ? sum / columns : 0;
        for (Int j = 0; j < columns; j++) {
            Int i = r * columns + j;
            Delta[i] = (Delta[i] * gain[j] - sum - H[i] * along) * inverse[r];
        }
    }
}
