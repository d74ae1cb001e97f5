/* The kernels: all instructions of a training step, for float and for double, as one library for one kind of processor.
 *
 * There is no other file to compile: this is the table of contents. What the library was made from is in its stamp,
 * which `compile.py` gives as STAMP.
 */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined __x86_64__
#include <immintrin.h>
#elif defined __aarch64__
#include <arm_neon.h>
#endif

#include "program.h"
#include "threads.c"
#include "plain.c"

#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 32") /* more than the longest series: a loop in a loop would be no vectors */
#if defined __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

#define DOUBLE 0
#include "real.h"
#include "../formulas.h"
#include "vectors.h"
#include "sums.h"
#include "products.c"
#include "rows.c"
#include "activations.c"
#include "waves.c"
#include "losses.c"
#include "units.c"
#undef DOUBLE

#define DOUBLE 1
#include "real.h"
#include "../formulas.h"
#include "vectors.h"
#include "sums.h"
#include "products.c"
#include "rows.c"
#include "activations.c"
#include "waves.c"
#include "losses.c"
#include "units.c"
#undef DOUBLE

EXPORT const char kernels_stamp[] = STAMP;
EXPORT const word kernels_scratch = SCRATCH;
