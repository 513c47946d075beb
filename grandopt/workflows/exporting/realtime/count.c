/* Steps through calls of an agent, one instruction at a time, and says of each function how many there are, whether
 * every call is the same ones, and how deep its stack goes. x86-64 under Linux: the processor's trap flag gives a signal
 * after each instruction.
 *
 * `count FILE STEPS OTHER_STEPS` reads inputs from FILE, so many as take STEPS instructions in all, yet FEWEST; for all
 * subjects but the first OTHER_STEPS. For each subject of subjects.h it prints
 *   NAME INSTRUCTIONS STACK INPUTS FAULTS OTHERS PLACE
 * where OTHERS are the inputs with other instructions than the first, and PLACE is how far behind the level's own
 * function the first of them left the first one's way (signed, in hexadecimal; "-" where none did, or it is not known). */
#define _GNU_SOURCE
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "subjects.h"

enum { FEWEST = 12, KEPT = 1 << 20, TRAP_FLAG = 0x100 };

static uint64_t first_way[KEPT]; /* where the first call was, as far as there is room */

static struct {
    uint64_t entry, back, top, lowest, steps, hash, left; /* `left` is the place from which it went another way */
    int inside, is_first;
} way;

static void step(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    const greg_t *registers = ((const ucontext_t *)context)->uc_mcontext.gregs;
    const uint64_t place = (uint64_t)registers[REG_RIP], stack = (uint64_t)registers[REG_RSP];
    if (!way.inside) {
        if (place != way.entry || way.steps != 0) return;
        way.inside = 1, way.top = way.lowest = stack;
        memcpy(&way.back, (const void *)stack, sizeof way.back);
    } else if (place == way.back && stack > way.top) {
        way.inside = 0;
        return;
    }
    if (way.steps < KEPT) {
        if (way.is_first) first_way[way.steps] = place;
        else if (way.left == 0 && first_way[way.steps] != place) way.left = first_way[way.steps - (way.steps > 0)];
    }
    ++way.steps;
    way.hash = (way.hash ^ place) * UINT64_C(1099511628211);
    if (stack < way.lowest) way.lowest = stack;
}

static int stepped(const struct subject *subject, int is_first) {
    memset(&way, 0, sizeof way);
    way.entry = (uint64_t)(uintptr_t)subject->entry, way.is_first = is_first;
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() | TRAP_FLAG);
    const int fault = subject->call();
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~(uint64_t)TRAP_FLAG);
    return fault;
}

static int read_input(FILE *file) {
    for (int i = 0; i < INPUTS; ++i)
        if (fread(in[i], in_bytes[i], 1, file) != 1) return 0;
    return 1;
}

static int count(const struct subject *subject, FILE *file, uint64_t steps) {
    uint64_t inputs = 0, faults = 0, others = 0, instructions = 0, hash = 0, stack = 0, left = 0;
    rewind(file);
    if (!read_input(file)) return 1;
    faults += subject->call() != 0; /* once, so that pages are there */
    do {
        faults += stepped(subject, inputs == 0) != 0;
        if (way.inside || way.steps == 0) return 2;
        if (inputs == 0) instructions = way.steps, hash = way.hash;
        const int other = way.steps != instructions || way.hash != hash;
        others += other;
        if (other && left == 0) left = way.left;
        if (way.top - way.lowest > stack) stack = way.top - way.lowest;
        ++inputs;
    } while ((inputs < FEWEST || inputs * instructions < steps) && read_input(file));
    printf("%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, subject->name, instructions, stack, inputs,
           faults, others);
    if (left == 0) puts(" -");
    else printf(" %" PRIx64 "\n", left - (uint64_t)(uintptr_t)subject->base);
    return 0;
}

int main(int arguments, char **given) {
    static char other_stack[1 << 18];
    const stack_t apart = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
    struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (arguments != 4 || sigaltstack(&apart, NULL) != 0 || sigaction(SIGTRAP, &action, NULL) != 0) return 3;
    FILE *file = fopen(given[1], "rb");
    if (file == NULL) return 4;
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; ++i) {
        const int failed = count(&subjects[i], file, strtoull(given[i == 0 ? 2 : 3], NULL, 10));
        if (failed) return failed;
    }
    return fclose(file) != 0;
}
