/* One of two numbers by a condition, and what else would branch on numbers. A compiler may make a branch of `?:` where
 * it expects one to be faster. An agent under the real-time contract has REALTIME defined: masks, of which the compiler
 * is not told what they are, leave it nothing to branch on. Both sides are computed. */
#ifdef REALTIME
#define MASK(type) \
    type mask = -(type)(which != 0); \
    __asm__("" : "+r"(mask))
INLINE int64_t choose_whole(int which, int64_t a, int64_t b) {
    MASK(int64_t);
    return (a & mask) | (b & ~mask);
}
INLINE float choose_float(int which, float a, float b) {
    uint32_t x, y;
    MASK(uint32_t);
    memcpy(&x, &a, sizeof x), memcpy(&y, &b, sizeof y);
    x = (x & mask) | (y & ~mask);
    memcpy(&a, &x, sizeof a);
    return a;
}
INLINE double choose_double(int which, double a, double b) {
    uint64_t x, y;
    MASK(uint64_t);
    memcpy(&x, &a, sizeof x), memcpy(&y, &b, sizeof y);
    x = (x & mask) | (y & ~mask);
    memcpy(&a, &x, sizeof a);
    return a;
}
#define CHOOSE(which, a, b) \
    _Generic(1 ? (a) : (b), float: choose_float, double: choose_double, default: choose_whole)(which, a, b)
#define TAKE(better, best, v, index, i) \
    do { \
        const int taken = (better); \
        best = CHOOSE(taken, v, best), index = CHOOSE(taken, (int64_t)(i), index); \
    } while (0)
/* Chunks, because the C library's memcpy walks according to addresses, which here depend on an index. */
INLINE void copy_row(void *to, const void *from, int bytes) {
    const int whole = bytes - bytes % 64;
    for (int i = 0; i < whole; i += 64) {
        memcpy((char *)to + i, (const char *)from + i, 64);
        __asm__ volatile("" : : : "memory"); /* or the loop would be made a call of memcpy */
    }
    memcpy((char *)to + whole, (const char *)from + whole, (size_t)(bytes - whole));
}
#else
#define CHOOSE(which, a, b) ((which) ? (a) : (b))
#define TAKE(better, best, v, index, i) \
    if (better) best = (v), index = (i)
#define copy_row memcpy
#endif

/* An index of a table of `count`, 0 in the place of one outside it, which is a fault. */
INLINE int64_t place_of(int64_t index, int64_t count, int fault, int *faults) {
    const int inside = (index >= 0) & (index < count);
    *faults |= CHOOSE(inside, 0, fault);
    return CHOOSE(inside, index, 0);
}
