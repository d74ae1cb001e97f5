/* What the threads of a crew do: go through programs together, step by step, and wait for each other.
 *
 * Where an instruction needs what the others have written, the program says so, and they meet: they spin for some
 * microseconds, then sleep. Threads that only ever spin are quickest on a machine that has nothing else to do; beside
 * another busy process they take the processor from the thread that they wait for.
 */
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "program.h"

#if defined _WIN32
#include <windows.h>
typedef SRWLOCK lock_t;
typedef CONDITION_VARIABLE bell_t;
#define lock_make(l) InitializeSRWLock(l)
#define lock_take(l) AcquireSRWLockExclusive(l)
#define lock_give(l) ReleaseSRWLockExclusive(l)
#define bell_make(b) InitializeConditionVariable(b)
#define bell_wait(b, l) SleepConditionVariableSRW(b, l, INFINITE, 0)
#define bell_ring(b) WakeAllConditionVariable(b)
#else
#include <pthread.h>
typedef pthread_mutex_t lock_t;
typedef pthread_cond_t bell_t;
#define lock_make(l) pthread_mutex_init(l, NULL)
#define lock_take(l) pthread_mutex_lock(l)
#define lock_give(l) pthread_mutex_unlock(l)
#define bell_make(b) pthread_cond_init(b, NULL)
#define bell_wait(b, l) pthread_cond_wait(b, l)
#define bell_ring(b) pthread_cond_broadcast(b)
#endif

#if defined __x86_64__
#define PAUSE() __builtin_ia32_pause()
#elif defined __aarch64__
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

/* While a crew works, numbers below the smallest normal one (1.2e-38 in float32) count as 0. Processors take some
 * hundred cycles for each of them, and a network that has learned its rows makes them by the million: probabilities of
 * wrong classes, and all that is multiplied by them. No update feels the difference: epsilon is far above. `flush` gives
 * back what the thread's mode was. */
#if defined __SSE2__
#include <xmmintrin.h>
typedef unsigned float_mode;
static float_mode flush(void)
{
    float_mode was = _mm_getcsr();
    _mm_setcsr(was | 0x8040); /* results, and what is read */
    return was;
}
static void unflush(float_mode was) { _mm_setcsr(was); }
#elif defined __aarch64__
typedef uint64_t float_mode;
static void unflush(float_mode was) { __asm__ volatile("msr fpcr, %0" : : "r"(was)); }
static float_mode flush(void)
{
    float_mode was;
    __asm__ volatile("mrs %0, fpcr" : "=r"(was));
    unflush(was | 1u << 24);
    return was;
}
#else
typedef int float_mode;
static float_mode flush(void) { return 0; }
static void unflush(float_mode was) { (void)was; }
#endif

enum {
    SPIN = 2000,    /* looks at a counter before a thread sleeps: longer than all but the largest waits of a step */
    PATIENCE = 10,  /* how many times as long it looks out for the next job: as long as Python needs between two */
    LINE = 128,     /* bytes between things that different threads write */
};

/* A program and how often to go through it: steps, their numbers [steps, slots] and row numbers [steps, stride bytes],
 * and where their losses go [steps]. Before each step its numbers are laid into `cells` [slots] and the address of its
 * row numbers into `cursor`, where instructions look for them; what a step adds up is in `terms`. */
struct job {
    const word *program;
    word length, steps;
    const double *numbers;
    word slots;
    const char *rows;
    word stride;
    double *totals;
    double *cells;
    const char **cursor;
    const double *terms;
};

struct crew {
    word threads;
    _Alignas(LINE) _Atomic word jobs;      /* begun so far */
    _Alignas(LINE) _Atomic word meetings;  /* comings to a meeting so far */
    _Alignas(LINE) _Atomic word asleep;    /* threads that sleep or are about to */
    _Alignas(LINE) const struct job *job;  /* NULL: go home */
    lock_t lock;
    bell_t bell;
};

EXPORT struct crew *crew_new(word threads)
{
    /* aligned_alloc is not there on Windows; a crew lives long, so a little too much memory does no harm */
    char *memory = calloc(1, sizeof(struct crew) + 2 * LINE);
    if (!memory)
        return NULL;
    char *place = memory + LINE - (uintptr_t)memory % LINE;
    ((char **)(void *)place)[-1] = memory;
    struct crew *crew = (struct crew *)(void *)place;
    crew->threads = threads;
    lock_make(&crew->lock);
    bell_make(&crew->bell);
    return crew;
}

/* The crew must be one that nobody works for any more. */
EXPORT void crew_free(struct crew *crew) { free(((char **)(void *)crew)[-1]); }

/* Until a counter has reached `goal`. */
static void wait_for(struct crew *crew, _Atomic word *counter, word goal, int looks)
{
    for (int i = 0; i < looks; i++) {
        if (atomic_load(counter) >= goal)
            return;
        PAUSE();
    }
    lock_take(&crew->lock);
    atomic_fetch_add(&crew->asleep, 1);
    while (atomic_load(counter) < goal)
        bell_wait(&crew->bell, &crew->lock);
    atomic_fetch_sub(&crew->asleep, 1);
    lock_give(&crew->lock);
}

/* Wake all who sleep, after a counter was moved: whoever counts himself as asleep looks at the counter once more. */
static void wake(struct crew *crew)
{
    if (atomic_load(&crew->asleep)) {
        lock_take(&crew->lock);
        bell_ring(&crew->bell);
        lock_give(&crew->lock);
    }
}

/* Wait until all have come here. */
static void meet(struct crew *crew)
{
    if (crew->threads == 1)
        return;
    word come = atomic_fetch_add(&crew->meetings, 1) + 1, rest = come % crew->threads;
    if (rest)
        wait_for(crew, &crew->meetings, come - rest + crew->threads, SPIN);
    else
        wake(crew);
}

static double sum(const double *terms, word count)
{
    double total = 0;
    for (word i = 0; i < count; i++)
        total += terms[i];
    return total;
}

/* The program once; false if a check failed. `total` takes the sum that was checked. */
static bool go_through(struct crew *crew, const struct job *job, double *total, word part)
{
    for (const word *a = job->program, *end = a + WIDTH * job->length; a < end; a += WIDTH) {
        if (a[0] == MEET)
            meet(crew);
        else if (a[0] == CHECK) {
            *total = sum(job->terms, a[1]);
            if (!isfinite(*total))
                return false;
        } else
            ((instruction *)(intptr_t)a[0])(a, part, crew->threads);
    }
    return true;
}

/* A job, by one of the threads; how many steps were made to their end. */
static word work(struct crew *crew, const struct job *job, word part)
{
    double total = 0;
    for (word step = 0; step < job->steps; step++) {
        if (part == 0) {
            for (word slot = 0; slot < job->slots; slot++)
                job->cells[slot] = job->numbers[step * job->slots + slot];
            *job->cursor = job->rows + step * job->stride;
        }
        meet(crew);
        bool whole = go_through(crew, job, &total, part);
        if (part == 0)
            job->totals[step] = total;
        if (!whole)
            return step;
        meet(crew);
    }
    return job->steps;
}

/* The caller's part of a job, and the signal for the others to begin theirs; back when all are done. How many steps
 * were made to their end. */
EXPORT word crew_lead(struct crew *crew, const struct job *job)
{
    crew->job = job;
    if (crew->threads > 1) {
        atomic_fetch_add(&crew->jobs, 1);
        wake(crew);
    }
    float_mode was = flush();
    word done = work(crew, job, 0);
    unflush(was);
    meet(crew);
    return done;
}

/* One instruction, all of it, by a thread that leads no crew. */
EXPORT void alone(const word *a)
{
    float_mode was = flush();
    ((instruction *)(intptr_t)a[0])(a, 0, 1);
    unflush(was);
}

/* Another thread's part of all jobs, until it is sent home. */
EXPORT void crew_follow(struct crew *crew, word part)
{
    flush();
    for (word number = 1;; number++) {
        wait_for(crew, &crew->jobs, number, PATIENCE * SPIN);
        const struct job *job = crew->job;
        if (!job)
            return;
        work(crew, job, part);
        meet(crew);
    }
}

/* Send the other threads home. */
EXPORT void crew_dismiss(struct crew *crew)
{
    crew->job = NULL;
    atomic_fetch_add(&crew->jobs, 1);
    wake(crew);
}
