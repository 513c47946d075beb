/* The server's side of a ring: answers the requests that a client writes to shared memory, see grandopt_ring.h.
 *
 * Nothing that the client can write is believed: where things lie is known from the server's own memory, every
 * number is read once, inputs are copied before they are computed with, and outputs after. A client can spoil its own
 * answers, and nothing else.
 */
#include <stdbool.h>
#include <stddef.h>

enum { RING_BUCKETS = 528, RING_FINEST = 6, RING_MANTISSA = 4, RING_LONGEST = 42 }; /* as runtime/histogram.py */

typedef struct { /* the server's own memory, beside the ring; Python writes it, and reads what is counted */
    uint64_t slots, first_slot, slot_bytes, answer;
    uint64_t spin_ns;  /* how long a request is looked for before sleeping */
    uint64_t next;     /* number of the next request */
    uint64_t stop;     /* 1: return after this request, 2: after all that were sent */
    uint64_t failed, late;
    uint64_t sum_ns, last_ns; /* of what was answered; when, of CLOCK_MONOTONIC */
    uint64_t naps;            /* how often it went to sleep */
    uint64_t counts[RING_BUCKETS];
} RingControl;

typedef struct { /* how a request is computed */
    int inputs, outputs;
    const size_t *bytes; /* of each input, then of each output */
    unsigned char *const *own; /* private memory of each */
    int (*compute)(void *agent); /* from the inputs' memory to the outputs'; anything but 0 is a fault */
    void *agent;
} RingAgent;

enum { RING_STOPPED = 0, RING_BROKEN = 1 };

static size_t ring_padded(size_t bytes) {
    return (bytes + GRANDOPT_RING_LINE - 1) / GRANDOPT_RING_LINE * GRANDOPT_RING_LINE;
}

/* Whether all of it lies within `bytes` of shared memory. */
static bool ring_fits(const RingControl *control, const RingAgent *agent, size_t bytes) {
    size_t in = sizeof(grandopt_ring_request), out = sizeof(grandopt_ring_answer);
    for (int i = 0; i < agent->inputs; ++i) in += ring_padded(agent->bytes[i]);
    for (int i = 0; i < agent->outputs; ++i) out += ring_padded(agent->bytes[agent->inputs + i]);
    uint64_t slots = control->slots;
    return slots >= 1 && slots <= GRANDOPT_RING_MOST_SLOTS && (slots & (slots - 1)) == 0 && control->answer >= in &&
           control->answer % GRANDOPT_RING_LINE == 0 && control->slot_bytes % GRANDOPT_RING_LINE == 0 &&
           control->first_slot % GRANDOPT_RING_LINE == 0 && control->first_slot >= sizeof(grandopt_ring_shape) &&
           control->answer <= bytes && control->slot_bytes >= control->answer + out && control->slot_bytes <= bytes &&
           control->first_slot <= bytes && control->slot_bytes <= (bytes - control->first_slot) / slots;
}

static void ring_count(RingControl *control, uint64_t ns) {
    uint64_t most = ((uint64_t)1 << RING_LONGEST) - 1, value = ns < most ? ns : most;
    int bits = value != 0 ? 64 - __builtin_clzll(value) : 0;
    int shift = bits - RING_MANTISSA - 1 > RING_FINEST ? bits - RING_MANTISSA - 1 : RING_FINEST;
    control->counts[((uint64_t)(shift - RING_FINEST) << RING_MANTISSA) + (value >> shift)] += 1;
    control->sum_ns += ns;
}

static void ring_answer(RingControl *control, const RingAgent *agent, unsigned char *slot) {
    grandopt_ring_answer *answer = (grandopt_ring_answer *)(slot + control->answer);
    uint64_t deadline = __atomic_load_n(&((grandopt_ring_request *)slot)->deadline_ns, __ATOMIC_RELAXED);
    uint64_t begun = grandopt_ring_now(), ended = begun;
    uint32_t status = deadline != 0 && begun >= deadline ? GRANDOPT_RING_LATE : GRANDOPT_RING_OK;
    const char *text = "the deadline passed before the call";
    if (status == GRANDOPT_RING_OK) {
        const unsigned char *from = slot + sizeof(grandopt_ring_request);
        for (int i = 0; i < agent->inputs; from += ring_padded(agent->bytes[i++])) {
            memcpy(agent->own[i], from, agent->bytes[i]);
        }
        if (agent->compute(agent->agent) != 0) status = GRANDOPT_RING_FAILED, text = "the agent reported a fault";
        ended = grandopt_ring_now();
    }
    if (status == GRANDOPT_RING_OK) {
        unsigned char *to = (unsigned char *)answer + sizeof *answer;
        for (int i = agent->inputs; i < agent->inputs + agent->outputs; to += ring_padded(agent->bytes[i++])) {
            memcpy(to, agent->own[i], agent->bytes[i]);
        }
        ring_count(control, ended - begun);
    } else {
        memset(answer->text, 0, sizeof answer->text);
        memcpy(answer->text, text, strlen(text));
        if (status == GRANDOPT_RING_LATE) ++control->late;
        else ++control->failed;
    }
    control->last_ns = ended;
    answer->number = control->next, answer->status = status, answer->duration_ns = ended - begun;
}

static uint64_t ring_stop(const RingControl *control) { return __atomic_load_n(&control->stop, __ATOMIC_ACQUIRE); }

/* Looks for a request for `spin` nanoseconds, if fewer than `limit` rings do so; whether there is one. */
static bool ring_look(const RingControl *control, grandopt_ring_shape *shape, uint64_t spin, uint32_t *spinning,
                      uint32_t limit) {
    bool found = false;
    if (__atomic_fetch_add(spinning, 1, __ATOMIC_RELAXED) < limit) {
        uint64_t until = grandopt_ring_now() + spin;
        do {
            for (int i = 0; i < 32 && !found; ++i) {
                grandopt_ring_pause();
                found = __atomic_load_n(&shape->requests, __ATOMIC_RELAXED) != control->next;
            }
        } while (!found && ring_stop(control) == 0 && grandopt_ring_now() < until);
    }
    __atomic_fetch_sub(spinning, 1, __ATOMIC_RELAXED);
    return found;
}

/* Returns when there may be a request, or a wish to stop. The time of looking is halved, down to an eighth, each time
 * that nothing came within it, and is the whole again once something did: a ring that is asked seldom costs little. */
static void ring_wait(RingControl *control, grandopt_ring_shape *shape, uint64_t *spin, uint32_t *spinning,
                      uint32_t limit) {
    if (control->spin_ns != 0 && ring_look(control, shape, *spin, spinning, limit)) {
        *spin = control->spin_ns;
        return;
    }
    if (*spin > control->spin_ns / 8) *spin /= 2;
    __atomic_store_n(&shape->server_asleep, 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&shape->requests, __ATOMIC_RELAXED) == control->next && ring_stop(control) == 0) {
        ++control->naps;
        grandopt_ring_sleep(&shape->server_asleep, 250000000u);
    }
    __atomic_store_n(&shape->server_asleep, 0, __ATOMIC_RELAXED);
}

/* Answers requests until it shall stop, or the client breaks the protocol. `spinning` is shared by all rings of the
 * process, of which `limit` look for requests at a time; the others sleep. */
static int ring_serve(RingControl *control, const RingAgent *agent, unsigned char *memory, uint32_t *spinning,
                      uint32_t limit) {
    grandopt_ring_shape *shape = (grandopt_ring_shape *)memory;
    uint64_t spin = control->spin_ns, last = 0;
    for (;;) {
        /* In this order: what was sent after a wish to stop is never answered as if there were none. */
        uint64_t sent = __atomic_load_n(&shape->requests, __ATOMIC_ACQUIRE);
        uint64_t stop = ring_stop(control);
        if (stop == 2) {
            if (last == 0) {
                last = __atomic_load_n(&shape->requests, __ATOMIC_ACQUIRE);
                if (last - control->next > control->slots) return RING_BROKEN;
            }
            if (last == control->next) return RING_STOPPED;
            sent = last;
        } else if (stop != 0) {
            return RING_STOPPED;
        }
        if (sent == control->next) {
            ring_wait(control, shape, &spin, spinning, limit);
            continue;
        }
        if (sent - control->next > control->slots) return RING_BROKEN;
        uint64_t place = control->next & (control->slots - 1);
        ring_answer(control, agent, memory + control->first_slot + place * control->slot_bytes);
        __atomic_store_n(&shape->answers, ++control->next, __ATOMIC_RELEASE);
        grandopt_ring_wake(&shape->client_asleep);
    }
}
