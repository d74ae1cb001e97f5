/* Activations, one kernel of each for every NAME: A = f(Z + b), and Delta times f'; prelu, whose slope is learned. */

extern "C" __global__ void forward_NAME(REAL *Z, const REAL *b, REAL *A, Int size, Int columns, Int biased, REAL p) {
    for EACH(i, size) {
        REAL z = biased ? Z[i] + b[rest(i, columns)] : Z[i];
        Z[i] = z;
        A[i] = FN(NAME)(z, p);
    }
}

/* Delta *= f', and db its column sums: a thread goes down one of `parts` parts of a column, the last one of a column
   adds the parts up. */
extern "C" __global__ void gradient_NAME(REAL *Delta, const REAL *Z, const REAL *A, REAL *db, REAL *room,
                                         Count *counters, Int rows, Int columns, Int parts, Int summed, REAL p) {
    for EACH(i, parts * columns) {
        Int part = over(i, columns), j = rest(i, columns), length = (rows + parts - 1) / parts;
        Int end = (part + 1) * length < rows ? (part + 1) * length : rows;
        REAL sum = 0;
        for (Int r = part * length; r < end; r++) {
            REAL d = Delta[r * columns + j] * FN(NAME_slope)(Z[r * columns + j], A[r * columns + j], p);
            Delta[r * columns + j] = d;
            sum += d;
        }
        if (!summed) continue;
        room[i] = sum;
        if (!last_of(counters + j, (Count)parts)) continue;
        sum = 0;
        for (Int k = 0; k < parts; k++) sum += __ldcg(room + k * columns + j);
        db[j] = sum;
    }
}

extern "C" __global__ void prelu(const REAL *Z, const REAL *slope, REAL *A, Int size) {
    for EACH(i, size) A[i] = Z[i] > 0 ? Z[i] : Z[i] * *slope;
}

extern "C" __global__ void prelu_gradient(REAL *Delta, const REAL *Z, const REAL *slope, REAL *da, double *room,
                                          Count *counters, Int size, Int count) {
    for EACH(i, count) {
        double value = 0, sum;
        for (Int k = i; k < size; k += count) {
            if (Z[k] > 0) continue;
            value += (double)Delta[k] * Z[k];
            Delta[k] *= *slope;
        }
        if (sum_of(value, i, count, room, counters, &sum)) *da = (REAL)sum;
    }
}
