/* AMX tiles: registers of up to 16 rows of 64 bytes, and the product of two of them.
 *
 * The instructions are written out: the compilers' intrinsics do not tell that they read memory. A tile's rows
 * lie `stride` bytes apart. The shapes of the tiles are set where a kernel begins and released where it ends,
 * so that a thread that leaves the call keeps nothing of it. */
#include <sys/syscall.h>
#include <unistd.h>
long syscall(long number, ...); /* which -std=c11 hides */

/* What LDTILECFG reads: for each of 8 tiles the bytes of a row and the number of rows. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_shapes;

#define TILES_BEGIN(shapes) __asm__ volatile("ldtilecfg %0" : : "m"(shapes))
#define TILES_END() __asm__ volatile("tilerelease" : : : "memory")
#define TILE_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile : :)
#define TILE_LOAD(tile, base, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(base), "r"((int64_t)(stride)) : "memory")
#define TILE_STORE(tile, base, stride) \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(base), "r"((int64_t)(stride)) : "memory")
/* c[m][n] += a[m][2k] · b[k][2n] + a[m][2k + 1] · b[k][2n + 1]: a and b in bfloat16, c in float32 */
#define TILE_BF16(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)

/* Linux gives the tiles to a process that asks for them. It may refuse: an old kernel, a sandbox, or a thread
 * whose alternative signal stack could not hold them. Written once, while the library is loaded. */
static int tiles_permitted;
__attribute__((constructor)) static void ask_for_tiles(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    tiles_permitted = syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

/* 32 floats, of which n count, as bfloat16, rounded to nearest even; zeros beyond. */
INLINE void bf16_store(uint16_t *to, const float *p, int n) {
    vf low = n < 16 ? v_load_n(p, n) : v_load(p);
    vf high = n >= 32 ? v_load(p + 16) : n > 16 ? v_load_n(p + 16, n - 16) : v_set1(0.0f);
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}
/* `rows` × `depth` floats, the rows `step` apart, as left-hand tiles: for each 32 columns one tile. */
INLINE void tile_rows(uint16_t *to, const float *x, int64_t step, int rows, int depth) {
    for (int k = 0; k < depth; k += 32) {
        for (int r = 0; r < rows; ++r, to += 32) bf16_store(to, x + r * step + k, depth - k);
    }
}
