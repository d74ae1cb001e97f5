/* What kernels share: whole numbers divided, and sums over many threads. */

/* i / n and i % n, by way of 32 bits where they suffice: a GPU divides those ten times faster. */
inline __device__ Int over(Int i, Int n) { return (i | n) >> 32 ? i / n : (Int)((Count)i / (Count)n); }
inline __device__ Int rest(Int i, Int n) { return (i | n) >> 32 ? i % n : (Int)((Count)i % (Count)n); }

/* Whether this thread is the last of `members` to come by; it sees what the others wrote before they did, and leaves
   the counter at zero. Who is last changes nothing: the last one adds up what all wrote, in order of place. */
inline __device__ bool last_of(Count *counter, Count members) {
    __threadfence();
    if (atomicAdd(counter, 1u) + 1 != members) return false;
    *counter = 0;
    __threadfence();
    return true;
}

/* The sum of one value from each of `count` threads, thread i's at place i: 32 by 32, and those sums 32 by 32. True for
   the one thread that has the sum. `room` takes 2 count + 8 numbers, `counters` count / 16 + 8. */
inline __device__ bool sum_of(double value, Int i, Int count, double *room, Count *counters, double *sum) {
    while (count > 1) {
        Int group = i / 32, groups = (count + 31) / 32, first = group * 32;
        Int members = count - first < 32 ? count - first : 32;
        room[i] = value;
        if (!last_of(counters + group, (Count)members)) return false;
        value = 0;
        for (Int k = 0; k < members; k++) value += __ldcg(room + first + k);
        room += count;
        counters += groups;
        i = group;
        count = groups;
    }
    *sum = value;
    return true;
}
