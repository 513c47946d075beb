/* Both sides of a ring in one process, for sanitizers: hammer orderly|garbage COUNT. */
#include "grandopt_ring.h"
#include "native_ring.h"

#include <pthread.h>
#include <stdlib.h>

enum { SLOTS = 8, IN = 5, OUT = 3, FIRST = 8192 };

typedef struct {
    uint32_t in[IN];
    uint64_t out[OUT];
} Own;

typedef struct {
    RingControl *control;
    RingAgent *agent;
    unsigned char *memory;
    uint32_t *spinning;
    int end;
} Server;

static int compute(void *agent) {
    Own *own = agent;
    for (int i = 0; i < OUT; ++i) {
        own->out[i] = (uint64_t)i;
        for (int j = 0; j < IN; ++j) own->out[i] += (uint64_t)own->in[j] * (uint64_t)(j + 1);
    }
    return 0;
}

static void *serve(void *argument) {
    Server *server = argument;
    server->end = ring_serve(server->control, server->agent, server->memory, server->spinning, 1);
    return NULL;
}

static uint64_t drawn(uint64_t *state) {
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
    return *state;
}

/* Wrong answers among `count`, up to seven under way; now and then the client rests until the server sleeps. */
static uint64_t orderly(grandopt_ring *ring, uint64_t count) {
    uint64_t wrong = 0, sent = 0, state = 88172645463325252u;
    for (uint64_t got = 0; got < count; ++got) {
        uint64_t depth = 1 + drawn(&state) % (SLOTS - 1);
        while (sent < count && sent - got < depth) {
            uint32_t *in = grandopt_ring_input(ring, 0);
            for (int j = 0; j < IN; ++j) in[j] = (uint32_t)(sent + (uint64_t)j);
            if (grandopt_ring_send(ring, 0) != GRANDOPT_RING_OK) return 1 + wrong;
            ++sent;
        }
        if (grandopt_ring_receive(ring, 0) != GRANDOPT_RING_OK) return 1 + wrong;
        const uint64_t *out = grandopt_ring_output(ring, 0);
        for (int i = 0; i < OUT; ++i) {
            uint64_t right = (uint64_t)i;
            for (int j = 0; j < IN; ++j) right += (uint64_t)(uint32_t)(got + (uint64_t)j) * (uint64_t)(j + 1);
            wrong += out[i] != right;
        }
        if (drawn(&state) % 5000 == 0) usleep(400);
    }
    return wrong;
}

/* A client that writes what it likes, where it likes, and counts requests so that the server goes on for a while. */
static void garbage(unsigned char *memory, size_t bytes, uint64_t seed) {
    grandopt_ring_shape *shape = (grandopt_ring_shape *)memory;
    uint64_t state = seed * 2654435761u + 1;
    for (int i = 0; i < 2000; ++i) {
        size_t place = drawn(&state) % (bytes / 8) * 8;
        uint64_t value = drawn(&state);
        if (place != offsetof(grandopt_ring_shape, requests)) memcpy(memory + place, &value, sizeof value);
        if (i % 3 == 0) __atomic_fetch_add(&shape->requests, drawn(&state) % 3, __ATOMIC_RELEASE);
        grandopt_ring_wake(&shape->server_asleep);
    }
    __atomic_store_n(&shape->requests, drawn(&state), __ATOMIC_RELEASE);
    grandopt_ring_wake(&shape->server_asleep);
}

static void own_memory(Own **own, unsigned char **parts) {
    *own = calloc(1, sizeof **own);
    if (*own == NULL) exit(99);
    parts[0] = (unsigned char *)(*own)->in, parts[1] = (unsigned char *)(*own)->out;
}

int main(int count, char **words) {
    if (count < 3) return 99;
    int hostile = strcmp(words[1], "garbage") == 0;
    uint64_t times = strtoull(words[2], NULL, 10), wrong = 0, broken = 0;
    size_t sizes[2] = {IN * sizeof(uint32_t), OUT * sizeof(uint64_t)};
    size_t answer = sizeof(grandopt_ring_request) + ring_padded(sizes[0]);
    size_t slot = answer + sizeof(grandopt_ring_answer) + ring_padded(sizes[1]), bytes = FIRST + SLOTS * slot;
    for (uint64_t round = 0; round < (hostile ? times : 1); ++round) {
        Own *own;
        unsigned char *parts[2], *memory = aligned_alloc(64, bytes);
        int ends[2];
        own_memory(&own, parts);
        if (memory == NULL || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return 99;
        memset(memory, 0, bytes);
        RingControl control;
        memset(&control, 0, sizeof control);
        control.slots = SLOTS, control.first_slot = FIRST, control.slot_bytes = slot, control.answer = answer;
        control.spin_ns = 100000;
        RingAgent agent = {1, 1, sizes, parts, compute, own};
        uint32_t spinning = 0;
        Server server = {&control, &agent, memory, &spinning, -1};
        if (!ring_fits(&control, &agent, bytes) || ring_fits(&control, &agent, bytes - 1)) return 98;
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, &server) != 0) return 99;
        if (hostile) {
            garbage(memory, bytes, round + 1);
        } else {
            grandopt_ring ring;
            memset(&ring, 0, sizeof ring);
            ring.socket = ends[0], ring.memory = memory, ring.bytes = bytes, ring.slots = SLOTS;
            ring.inputs = ring.outputs = 1, ring.first_slot = FIRST, ring.slot_bytes = slot, ring.answer = answer;
            ring.spin_ns = 20000;
            ring.tensors[0].offset = sizeof(grandopt_ring_request), ring.tensors[0].bytes = sizes[0];
            ring.tensors[1].offset = answer + sizeof(grandopt_ring_answer), ring.tensors[1].bytes = sizes[1];
            wrong += orderly(&ring, times);
            __atomic_store_n(&control.stop, 2, __ATOMIC_RELEASE);
            grandopt_ring_wake(&((grandopt_ring_shape *)memory)->server_asleep);
        }
        pthread_join(thread, NULL);
        broken += server.end == RING_BROKEN;
        wrong += !hostile && control.next != times;
        close(ends[0]), close(ends[1]);
        free(memory), free(own);
    }
    printf("%llu wrong, %llu broken\n", (unsigned long long)wrong, (unsigned long long)broken);
    return 0;
}
