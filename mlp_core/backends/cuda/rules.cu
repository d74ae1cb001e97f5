/* Update rules, one kernel for every NAME. */

extern "C" __global__ void NAME(REAL *theta, const REAL *grad, POINTERSInt size, const double *given,
                                PARAMETERS) {
    REAL n[] = {NUMBERS};
    for (int k = 0; given && k < COUNT; k++) n[k] = (REAL)given[k];
    for EACH(i, size) FN(NAME)(theta + i, grad[i], PLACES, n);
}
