/* A client of rings in C, for tests: client MODE PATH AGENT [NUMBER…]. Observations come from standard input. */
#include "grandopt_ring.h"

#include <stddef.h>
#include <stdlib.h>

static size_t total(const grandopt_ring *ring, uint32_t from, uint32_t count) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; ++i) bytes += (size_t)ring->tensors[from + i].bytes;
    return bytes;
}

static void fill(const grandopt_ring *ring, const unsigned char *row) {
    for (uint32_t i = 0; i < ring->inputs; ++i) {
        memcpy(grandopt_ring_input(ring, i), row, (size_t)ring->tensors[i].bytes);
        row += ring->tensors[i].bytes;
    }
}

static void take(const grandopt_ring *ring, unsigned char *row) {
    for (uint32_t i = 0; i < ring->outputs; ++i) {
        size_t bytes = (size_t)ring->tensors[ring->inputs + i].bytes;
        memcpy(row, grandopt_ring_output(ring, i), bytes);
        row += bytes;
    }
}

static int failed(const grandopt_ring *ring, int status) {
    printf("status %d: %s\n", status, ring->error);
    return status;
}

/* Answers to `rows` observations, `depth` under way; each round must give the same as the first. */
static int rounds(grandopt_ring *ring, size_t rows, size_t count, size_t depth, int print) {
    size_t in = total(ring, 0, ring->inputs), out = total(ring, ring->inputs, ring->outputs);
    unsigned char *given = malloc(rows * in), *first = malloc(rows * out), *row = malloc(out);
    size_t sent = 0, got = 0, wrong = 0;
    if (given == NULL || first == NULL || row == NULL || fread(given, in, rows, stdin) != rows) return 99;
    while (got < count) {
        while (sent < count && sent - got < depth) {
            fill(ring, given + sent % rows * in);
            int status = grandopt_ring_send(ring, 0);
            if (status != GRANDOPT_RING_OK) return failed(ring, status);
            ++sent;
        }
        int status = grandopt_ring_receive(ring, 0);
        if (status != GRANDOPT_RING_OK) return failed(ring, status);
        take(ring, row);
        if (got < rows) memcpy(first + got * out, row, out);
        else wrong += memcmp(first + got % rows * out, row, out) != 0;
        ++got;
    }
    if (print) fwrite(first, out, rows, stdout);
    else printf("%zu wrong of %zu\n", wrong, got);
    free(given), free(first), free(row);
    return 0;
}

static int hold(grandopt_ring *ring) {
    for (uint32_t i = 0; i < ring->inputs; ++i) memset(grandopt_ring_input(ring, i), 0, (size_t)ring->tensors[i].bytes);
    int status = grandopt_ring_send(ring, 0);
    if (status == GRANDOPT_RING_OK) status = grandopt_ring_receive(ring, 0);
    if (status != GRANDOPT_RING_OK) return failed(ring, status);
    puts("held"), fflush(stdout);
    for (;;) pause();
}

/* Nanoseconds of each of `count` calls, as uint64 on standard output. */
static int times(grandopt_ring *ring, size_t rows, size_t count) {
    size_t in = total(ring, 0, ring->inputs), out = total(ring, ring->inputs, ring->outputs);
    unsigned char *given = malloc(rows * in), *row = malloc(out);
    uint64_t *taken = malloc(count * sizeof *taken);
    if (given == NULL || row == NULL || taken == NULL || fread(given, in, rows, stdin) != rows) return 99;
    for (size_t n = 0; n < count; ++n) {
        uint64_t begun = grandopt_ring_now();
        fill(ring, given + n % rows * in);
        int status = grandopt_ring_send(ring, 0);
        if (status == GRANDOPT_RING_OK) status = grandopt_ring_receive(ring, 0);
        if (status != GRANDOPT_RING_OK) return failed(ring, status);
        take(ring, row);
        taken[n] = grandopt_ring_now() - begun;
    }
    fwrite(taken, sizeof *taken, count, stdout);
    free(given), free(row), free(taken);
    return 0;
}

static void layout(void) {
    printf("%zu %zu %zu %zu %zu %zu\n", sizeof(grandopt_ring_hello), sizeof(grandopt_ring_reply),
           sizeof(grandopt_ring_tensor), sizeof(grandopt_ring_request), sizeof(grandopt_ring_answer),
           offsetof(grandopt_ring_answer, text));
    printf("%zu %zu %zu %zu %zu %zu\n", offsetof(grandopt_ring_shape, requests),
           offsetof(grandopt_ring_shape, client_asleep), offsetof(grandopt_ring_shape, answers),
           offsetof(grandopt_ring_shape, server_asleep), offsetof(grandopt_ring_shape, closed),
           offsetof(grandopt_ring_shape, why));
    printf("%d %d %d %d %d %d\n", GRANDOPT_RING_VERSION, GRANDOPT_RING_TABLE, GRANDOPT_RING_MOST_SLOTS,
           GRANDOPT_RING_BOOL, GRANDOPT_RING_FULL, GRANDOPT_RING_TENSORS);
}

int main(int count, char **words) {
    grandopt_ring ring;
    if (count < 4) return layout(), 0;
    int status = grandopt_ring_open(&ring, words[2], words[3], 0);
    if (status != GRANDOPT_RING_OK) return failed(&ring, status);
    size_t numbers[3] = {1, 1, 1};
    for (int i = 4; i < count && i < 7; ++i) numbers[i - 4] = (size_t)strtoull(words[i], NULL, 10);
    if (strcmp(words[1], "answers") == 0) status = rounds(&ring, numbers[0], numbers[0], 1, 1);
    else if (strcmp(words[1], "rounds") == 0) status = rounds(&ring, numbers[0], numbers[1], numbers[2], 0);
    else if (strcmp(words[1], "times") == 0) status = times(&ring, numbers[0], numbers[1]);
    else status = hold(&ring);
    grandopt_ring_close(&ring);
    return status;
}
