/* How fast one core computes and reads at a feature level: kernels that do nothing else.
 *
 * Each multiplies and adds in twelve chains that do not wait for each other, in registers alone, so that the
 * units never idle: an instruction takes 4 to 6 cycles and two may begin in each, and 12 sums with their operands
 * fit the 16 registers of AVX2. `NAME_operations` says how many operations one repetition is; an addition and a
 * multiplication are two. All sums are written to `sink`, and OPAQUE keeps the compiler from multiplying once
 * what is multiplied again. Compiled with -DVECTOR_BYTES=16, 32 or 64. */
#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define OPAQUE(value) __asm__ volatile("" : "+v"(value))
#else
#include <arm_neon.h>
#define OPAQUE(value) __asm__ volatile("" : "+w"(value))
#endif

#define API __attribute__((visibility("default")))
#define TWELVE(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)

typedef float vf __attribute__((vector_size(VECTOR_BYTES), aligned(4)));
typedef uint32_t vu __attribute__((vector_size(VECTOR_BYTES), aligned(4)));

enum { LANES = VECTOR_BYTES / 4 };

/* A vector of equal numbers that the compiler cannot know. */
static inline vf filled(float value) {
    volatile float hidden = value;
    return (vf){0} + hidden;
}

/* `type` is that of a sum, `operations` those of one STEP, which adds to sum n; the operands are declared. */
#define SUM(n) sum##n
#define DECLARE(n) total SUM(n) = {0};
#define ADD_UP(n) *(total *)(sink + LANES * (n)) = SUM(n);
#define KERNEL(name, type, operations, operands, STEP)                 \
    API const double name##_operations = 12.0 * (operations);         \
    API void name(int64_t repeats, float *sink) {                     \
        typedef type total;                                           \
        operands;                                                     \
        TWELVE(DECLARE)                                               \
        for (int64_t i = 0; i < repeats; ++i) { TWELVE(STEP) }        \
        TWELVE(ADD_UP)                                                \
    }

/* ---- float32: fused multiply-add */

#define FLOAT32(n) SUM(n) += a * b; OPAQUE(b);
KERNEL(float32, vf, 2 * LANES, vf a = filled(0.5f); vf b = filled(1e-3f), FLOAT32)

/* ---- bfloat16: by its own instruction, else widened: the halves of a word are two numbers */

#if defined(__AMX_BF16__)
#define TILED 1
#elif defined(__AVX512BF16__)
#define BFLOAT16(n) SUM(n) = _mm512_dpbf16_ps(SUM(n), (__m512bh)a, (__m512bh)b); OPAQUE(b);
KERNEL(bfloat16, __m512, 4 * LANES, vf a = filled(0.5f); vf b = filled(1e-3f), BFLOAT16)
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
/* Two rows by two columns, four deep: twice what BFDOT does. */
#define BFLOAT16(n) SUM(n) = vbfmmlaq_f32(SUM(n), (bfloat16x8_t)a, (bfloat16x8_t)b); OPAQUE(b);
KERNEL(bfloat16, float32x4_t, 8 * LANES, vf a = filled(0.5f); vf b = filled(1e-3f), BFLOAT16)
#else
#define LOW(n) SUM(n) += (vf)(words << 16) * b;
#define HIGH(n) SUM(n) += (vf)(words & 0xffff0000u) * b; OPAQUE(words);
#define PAIRS(DO, OTHER) DO(0) OTHER(1) DO(2) OTHER(3) DO(4) OTHER(5) DO(6) OTHER(7) DO(8) OTHER(9) DO(10) OTHER(11)
API const double bfloat16_operations = 12.0 * 2 * LANES;
API void bfloat16(int64_t repeats, float *sink) {
    typedef vf total;
    vf b = filled(1e-3f);
    vu words = (vu)filled(0.5f);
    TWELVE(DECLARE)
    for (int64_t i = 0; i < repeats; ++i) { PAIRS(LOW, HIGH) }
    TWELVE(ADD_UP)
}
#endif

/* ---- int8: by its own instruction, else in pairs */

#if defined(__AMX_INT8__)
#define TILED 1
#elif defined(__AVX512VNNI__)
#define INT8(n) SUM(n) = _mm512_dpbusd_epi32(SUM(n), (__m512i)a, (__m512i)b); OPAQUE(b);
KERNEL(int8, __m512i, 8 * LANES, vf a = filled(0.5f); vf b = filled(1e-3f), INT8)
#elif defined(__AVXVNNI__)
#define INT8(n) SUM(n) = _mm256_dpbusd_avx_epi32(SUM(n), (__m256i)a, (__m256i)b); OPAQUE(b);
KERNEL(int8, __m256i, 8 * LANES, vf a = filled(0.5f); vf b = filled(1e-3f), INT8)
#elif defined(__AVX512BW__)
#define INT8(n) \
    SUM(n) = _mm512_add_epi32(SUM(n), _mm512_madd_epi16(_mm512_maddubs_epi16((__m512i)a, (__m512i)b), ones)); \
    OPAQUE(b);
KERNEL(int8, __m512i, 8 * LANES, vf a = filled(0.5f); vf b = filled(1e-3f); __m512i ones = _mm512_set1_epi16(1);
       OPAQUE(ones), INT8)
#elif defined(__AVX2__)
#define INT8(n) \
    SUM(n) = _mm256_add_epi32(SUM(n), _mm256_madd_epi16(_mm256_maddubs_epi16((__m256i)a, (__m256i)b), ones)); \
    OPAQUE(b);
KERNEL(int8, __m256i, 8 * LANES, vf a = filled(0.5f); vf b = filled(1e-3f); __m256i ones = _mm256_set1_epi16(1);
       OPAQUE(ones), INT8)
#elif defined(__ARM_FEATURE_DOTPROD)
#define INT8(n) SUM(n) = vdotq_s32(SUM(n), (int8x16_t)a, (int8x16_t)b); OPAQUE(b);
KERNEL(int8, int32x4_t, 8 * LANES, vf a = filled(0.5f); vf b = filled(1e-3f), INT8)
#else
#define INT8(n) SUM(n) = vpadalq_s16(SUM(n), vmull_s8(vget_low_s8((int8x16_t)a), vget_low_s8((int8x16_t)b))); OPAQUE(b);
KERNEL(int8, int32x4_t, 4 * LANES, vf a = filled(0.5f); vf b = filled(1e-3f), INT8)
#endif

/* ---- both in AMX tiles: four sums of 16 by 16, each tile of operands used twice */

#if defined(TILED)
#include <sys/syscall.h>
#include <unistd.h>
long syscall(long number, ...); /* which -std=c11 hides */

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_shapes;

#define TILE_PRODUCT(name, c, a, b) __asm__ volatile(name " %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)
#define TILE_KERNEL(kernel, name, depth)                                                              \
    API const double kernel##_operations = 4.0 * 2 * 16 * 16 * (depth);                               \
    API void kernel(int64_t repeats, float *sink) {                                                   \
        tile_shapes shapes = {.palette = 1};                                                          \
        for (int tile = 0; tile < 8; ++tile) shapes.bytes[tile] = 64, shapes.rows[tile] = 16;         \
        __asm__ volatile("ldtilecfg %0" : : "m"(shapes)); /* which zeroes the tiles */                \
        for (int64_t i = 0; i < repeats; ++i) {                                                       \
            TILE_PRODUCT(name, 0, 4, 6);                                                              \
            TILE_PRODUCT(name, 1, 4, 7);                                                              \
            TILE_PRODUCT(name, 2, 5, 6);                                                              \
            TILE_PRODUCT(name, 3, 5, 7);                                                              \
        }                                                                                             \
        __asm__ volatile("tilerelease" : : : "memory");                                               \
        sink[0] = 0.0f;                                                                               \
    }
TILE_KERNEL(bfloat16, "tdpbf16ps", 32)
TILE_KERNEL(int8, "tdpbssd", 64)
#endif

/* Whether this process may run the kernels: Linux gives the tiles to one that asks for them, or refuses. */
API int permitted(void) {
#if defined(TILED)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return 1;
#endif
}

/* ---- reading: `steps` times eight vectors, around a set of `size` bytes, a power of two. It is read at four
 * places at once, as the rows of a matrix are: the prefetchers then ask for more. No branch ends a round: in a
 * small set one that is guessed wrong would be seen. */

#define FROM(stream, vector) ((const vu *)(from + (stream) * quarter))[vector]
API const double reading_bytes = 8.0 * VECTOR_BYTES;
API void reading(int64_t steps, float *sink, const char *data, int64_t size) {
    vu sum0 = {0}, sum1 = {0}, sum2 = {0}, sum3 = {0}, sum4 = {0}, sum5 = {0}, sum6 = {0}, sum7 = {0};
    const int64_t quarter = size / 4;
    for (int64_t i = 0; i < steps; ++i) {
        const char *from = data + (i * 2 * VECTOR_BYTES & (quarter - 1));
        sum0 ^= FROM(0, 0), sum1 ^= FROM(0, 1), sum2 ^= FROM(1, 0), sum3 ^= FROM(1, 1);
        sum4 ^= FROM(2, 0), sum5 ^= FROM(2, 1), sum6 ^= FROM(3, 0), sum7 ^= FROM(3, 1);
    }
    *(vu *)sink = sum0 ^ sum1 ^ sum2 ^ sum3 ^ sum4 ^ sum5 ^ sum6 ^ sum7;
}
