/* What the formulas, and then every kernel, are written in. */

typedef long long Int;
typedef unsigned long long Word;
typedef unsigned int Count;
typedef unsigned short Bits;
typedef unsigned char Byte;

#define FIRST (blockIdx.x * (Int)blockDim.x + threadIdx.x)
#define EACH(i, count) (Int i = FIRST; i < (count); i += gridDim.x * (Int)blockDim.x)
#define INLINE inline __device__
#define FN(name) f_##name
#define SQRT sqrt
#define ABS fabs
#define EXP exp
#define EXPM1 expm1
#define LOG1P log1p
#define TANH tanh
#define SIN sin
#define COS cos
#define PHI(z) ((REAL)0.5 * erfc((z) * (REAL)-0.70710678118654752440))
