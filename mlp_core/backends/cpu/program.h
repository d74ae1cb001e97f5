/* What a program is made of. An instruction is a row of WIDTH words: the address of its function, then the arguments of
 * that function, addresses and sizes. Every function has one face: it does its share, `part` of `parts`, of what the
 * row says. What two parts do never overlaps.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdint.h>

typedef int64_t word;
typedef void instruction(const word *a, word part, word parts);

enum {
    WIDTH = 16,
    MEET = 0,  /* in place of an address: wait until all threads have come here */
    CHECK = 1, /* in place of an address: leave the program unless the first a[1] terms have a finite sum */
};

#if defined _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* The address that is argument k, as a pointer to numbers of a type. */
#define AT(type, k) ((type *)(intptr_t)a[k])

static inline word least(word a, word b) { return a < b ? a : b; }

/* The first of what a part of `parts` has of `count` things, at a multiple of 16 where there are enough. */
static inline word first_of(word count, word part, word parts)
{
    const word grain = count >= 16 * parts ? 16 : 1;
    return part == parts ? count : count / grain * part / parts * grain;
}

/* What a part has: first and last. */
static inline void share(word count, word part, word parts, word *first, word *last)
{
    *first = first_of(count, part, parts);
    *last = first_of(count, part + 1, parts);
}

/* `for ENTRIES(i, rows, m)`: every entry i that this part has of [rows, m], of which rows are shared out. `for MINE(i,
 * count)`: every thing that it has. */
#define ENTRIES(i, rows, m) \
    (word i = (m) * first_of(rows, part, parts), i##_end = (m) * first_of(rows, part + 1, parts); i < i##_end; i++)
#define MINE(i, count) ENTRIES(i, count, 1)

#endif
