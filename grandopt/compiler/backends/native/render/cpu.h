/* CPU features as bits, by the names that Linux gives them: those that the CPU has and the system lets a
 * process use. Their registers must be saved when the process gives way to another, and tiles be asked for. */
#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__) && !defined(WITHOUT_TILES)
#include <sys/syscall.h>
#include <unistd.h>
long syscall(long number, ...); /* which -std=c11 hides */
#endif

enum {
    CPU_fma = 1 << 0,
    CPU_f16c = 1 << 1,
    CPU_bmi1 = 1 << 2,
    CPU_bmi2 = 1 << 3,
    CPU_avx2 = 1 << 4,
    CPU_avx_vnni = 1 << 5,
    CPU_avx512f = 1 << 6,
    CPU_avx512bw = 1 << 7,
    CPU_avx512dq = 1 << 8,
    CPU_avx512vl = 1 << 9,
    CPU_avx512_vnni = 1 << 10,
    CPU_avx512_bf16 = 1 << 11,
    CPU_amx_tile = 1 << 12,
    CPU_amx_bf16 = 1 << 13,
    CPU_amx_int8 = 1 << 14,
};
#define CPU_ALL_512 \
    (CPU_avx512f | CPU_avx512bw | CPU_avx512dq | CPU_avx512vl | CPU_avx512_vnni | CPU_avx512_bf16)
#define CPU_ALL_TILES (CPU_amx_tile | CPU_amx_bf16 | CPU_amx_int8)

/* Linux may refuse the tiles: an old kernel, a sandbox, or a thread whose signal stack could not hold them. */
static int permit_tiles(void) {
#if defined(__linux__) && !defined(WITHOUT_TILES)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return 0;
#endif
}

static uint32_t saved_registers(void) { /* 0 where the system saves none that XSAVE knows */
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return 0;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return a;
}

static uint32_t cpu_features(void) {
    enum { VECTORS_256 = 0x6, VECTORS_512 = 0xe6, TILES = 0x60000 };
    const uint32_t saved = saved_registers();
    uint32_t a, b, c, d, found = 0;
    if ((saved & VECTORS_256) != VECTORS_256 || !__get_cpuid(1, &a, &b, &c, &d)) return 0;
    if (c >> 12 & 1) found |= CPU_fma;
    if (c >> 29 & 1) found |= CPU_f16c;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
    if (b >> 3 & 1) found |= CPU_bmi1;
    if (b >> 5 & 1) found |= CPU_avx2;
    if (b >> 8 & 1) found |= CPU_bmi2;
    if (b >> 16 & 1) found |= CPU_avx512f;
    if (b >> 17 & 1) found |= CPU_avx512dq;
    if (b >> 30 & 1) found |= CPU_avx512bw;
    if (b >> 31 & 1) found |= CPU_avx512vl;
    if (c >> 11 & 1) found |= CPU_avx512_vnni;
    if (d >> 22 & 1) found |= CPU_amx_bf16;
    if (d >> 24 & 1) found |= CPU_amx_tile;
    if (d >> 25 & 1) found |= CPU_amx_int8;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        if (a >> 4 & 1) found |= CPU_avx_vnni;
        if (a >> 5 & 1) found |= CPU_avx512_bf16;
    }
    if ((saved & VECTORS_512) != VECTORS_512) found &= ~(uint32_t)CPU_ALL_512;
    if ((saved & TILES) != TILES || !(found & CPU_amx_tile) || !permit_tiles()) found &= ~(uint32_t)CPU_ALL_TILES;
    return found;
}

#elif defined(__aarch64__)
enum { CPU_asimd = 1 << 0, CPU_asimddp = 1 << 1, CPU_bf16 = 1 << 2 };
#ifdef __linux__
#include <sys/auxv.h>
static uint32_t cpu_features(void) {
    uint32_t found = CPU_asimd;
    if (getauxval(AT_HWCAP) >> 20 & 1) found |= CPU_asimddp;
    if (getauxval(AT_HWCAP2) >> 14 & 1) found |= CPU_bf16;
    return found;
}
#else /* what every CPU of this architecture has */
static uint32_t cpu_features(void) { return CPU_asimd; }
#endif

#else
static uint32_t cpu_features(void) { return 0; }
#endif
