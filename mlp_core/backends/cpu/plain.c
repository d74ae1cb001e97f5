/* What is there once, whatever a network computes in: which kind of processor this is, rows of any type, random words,
 * programs in strips. */

/* The largest set of instructions that this processor and its system know: 1 for the least that there is, on x86-64
 * 3 and 4 for what is called x86-64-v3 and x86-64-v4. */
EXPORT word kernels_level(void)
{
#if defined __x86_64__
    uint32_t a, b, c, d, saved;
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0));
    if (a < 7)
        return 1;
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(1), "c"(0));
    const uint32_t fma = 1u << 12, xsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;
    if ((c & (fma | xsave | avx | f16c)) != (fma | xsave | avx | f16c))
        return 1;
    __asm__("xgetbv" : "=a"(saved), "=d"(d) : "c"(0)); /* which registers the system keeps for its processes */
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
    const uint32_t bmi = 1u << 3, avx2 = 1u << 5, bmi2 = 1u << 8;
    if ((b & (bmi | avx2 | bmi2)) != (bmi | avx2 | bmi2) || (saved & 0x06) != 0x06)
        return 1;
    const uint32_t f = 1u << 16, dq = 1u << 17, cd = 1u << 28, bw = 1u << 30, vl = 1u << 31;
    return (b & (f | dq | cd | bw | vl)) == (f | dq | cd | bw | vl) && (saved & 0xE6) == 0xE6 ? 4 : 3;
#else
    return 1;
#endif
}

/* out[i] = X[rows[i]]. Words: X, bytes of a row, where the address of the row numbers is, the first of them, out,
 * count. Rows of `out` are shared out. */
EXPORT void gather(const word *a, word part, word parts)
{
    const char *X = AT(const char, 1);
    char *out = AT(char, 5);
    const word bytes = a[2], *rows = *AT(const word *const, 3) + a[4];
    for MINE(i, a[6])
        memcpy(out + bytes * i, X + bytes * rows[i], (size_t)bytes);
}

/* Philox4x64-10 (Salmon et al., SC 2011): four random words for a place, as eight halves, the lower ones first. `keys`
 * are those of its ten rounds. */
static inline void philox(uint64_t block, uint64_t step, uint64_t layer, const uint64_t *keys, uint32_t *halves)
{
    uint64_t c0 = block, c1 = step, c2 = layer, c3 = 0;
    for (int round = 0; round < 10; round++) {
        unsigned __int128 p0 = (unsigned __int128)0xD2E7470EE14C6C93u * c0;
        unsigned __int128 p1 = (unsigned __int128)0xCA5A826395121157u * c2;
        c0 = (uint64_t)(p1 >> 64) ^ c1 ^ keys[2 * round], c1 = (uint64_t)p1;
        c2 = (uint64_t)(p0 >> 64) ^ c3 ^ keys[2 * round + 1], c3 = (uint64_t)p0;
    }
    const uint64_t words[4] = {c0, c1, c2, c3};
    for (int k = 0; k < 4; k++)
        halves[2 * k] = (uint32_t)words[k], halves[2 * k + 1] = (uint32_t)(words[k] >> 32);
}

/* What dropout leaves: 1, and 0 with a probability, the same as numpy's bit for bit. Words: left (bytes [rows, m]),
 * where the step is, how many steps after it, rows, m, layer, two words of the key, where the probability is, where the
 * share of it is, which entry of the layer's batch is the first. numpy compares the upper 24 bits of each half, over
 * 2^24, with the probability as a float. */
EXPORT void dropout(const word *a, word part, word parts)
{
    enum { TOGETHER = 64 };
    const uint64_t step = (uint64_t)*AT(const double, 2) + (uint64_t)a[3];
    const uint32_t reached = (uint32_t)ceilf((float)(*AT(const double, 9) * *AT(const double, 10)) * 16777216);
    uint64_t keys[20] = {(uint64_t)a[7], (uint64_t)a[8]};
    uint32_t halves[8 * TOGETHER];
    const word offset = a[11]; /* a byte may lie anywhere, so that a compiler would read a word again after each */
    uint8_t *left = AT(uint8_t, 1);
    word first, last;
    for (int k = 2; k < 20; k++)
        keys[k] = keys[k - 2] + (k % 2 ? 0xBB67AE8584CAA73Bu : 0x9E3779B97F4A7C15u);
    share(a[4], part, parts, &first, &last);
    first = offset + a[5] * first, last = offset + a[5] * last;
    for (word block = first / 8; 8 * block < last; block += TOGETHER) {
        const word start = 8 * block, end = least(last, start + 8 * TOGETHER), from = start < first ? first : start;
        for (word k = 0; k < (end - start + 7) / 8; k++)
            philox((uint64_t)(block + k) + 1, step, (uint64_t)a[6], keys, halves + 8 * k);
        for (word k = from; k < end; k++)
            left[k - offset] = halves[k - start] >> 8 >= reached;
    }
}

/* Some instructions for some units after others, so that the next instruction finds in the cache what the last one
 * wrote. Words: how many, their forms [count, 4, WIDTH], units, units to a strip, memory [parts, WIDTH].
 * Every word of an instruction is linear in the first unit of a strip, in its units beyond 1, and in the part: there
 * are four rows for each. */
EXPORT void in_strips(const word *a, word part, word parts)
{
    const word *forms = AT(const word, 2);
    word first, last, *row = AT(word, 5) + WIDTH * part;
    share(a[3], part, parts, &first, &last);
    for (word start = first; start < last; start += a[4]) {
        const word more = least(a[4], last - start) - 1;
        for (word k = 0; k < a[1]; k++) {
            const word *form = forms + 4 * WIDTH * k;
            for (int w = 0; w < WIDTH; w++)
                row[w] = form[w] + start * form[WIDTH + w] + more * form[2 * WIDTH + w] + part * form[3 * WIDTH + w];
            ((instruction *)(intptr_t)row[0])(row, 0, 1);
        }
    }
}
