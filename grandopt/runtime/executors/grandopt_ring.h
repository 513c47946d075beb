/* Asks an agent of a grandopt server on the same machine through shared memory, in microseconds.
 *
 * C11 and C++17 with GCC or Clang, on Linux; nothing to link. Include it before other headers, or define
 * _GNU_SOURCE: it needs Linux's calls.
 *
 *     grandopt_ring ring;
 *     if (grandopt_ring_open(&ring, "/run/grandopt/ring", "gate", 0) != GRANDOPT_RING_OK) complain(ring.error);
 *     const void *in[] = {observation};
 *     void *out[] = {action};
 *     if (grandopt_ring_call(&ring, in, out, 1000000) != GRANDOPT_RING_OK) complain(ring.error);
 *     grandopt_ring_close(&ring);
 *
 * A ring belongs to one thread at a time. Several requests may be under way: fill `grandopt_ring_input`, `send`,
 * again, then `receive` once for each; answers come in the order of the requests.
 *
 * The protocol, version 1
 * -----------------------
 * 1. The client connects to the server's Unix socket (stream) and sends a grandopt_ring_hello.
 * 2. The server sends a grandopt_ring_reply. With status OK a descriptor of the shared file comes with its first
 *    byte (SCM_RIGHTS); with any other, `text` says why, and the server hangs up. The file can neither shrink nor
 *    grow. Its numbers are of this machine's byte order.
 * 3. The socket stays open as long as the ring is used. Whoever goes away hangs up, and the other side sees it.
 *
 * The file begins with a grandopt_ring_shape, written before it is handed over; tensors are described at `table`:
 * inputs, then outputs. Then there are `slots` (a power of two) of `slot_bytes` each from `first_slot` on. Request
 * number n (from 0) and its answer have slot n % slots. In a slot: a grandopt_ring_request, the inputs of one
 * observation, at `answer` a grandopt_ring_answer, the outputs. Each tensor is row-major and lies on a multiple of
 * 64 bytes, `offset` from the beginning of the slot.
 *
 * Ordering: the client writes a slot, then `requests` (release). The server reads `requests` (acquire), copies the
 * inputs, computes, writes the slot's answer, then `answers` (release), which the client reads (acquire). Both count
 * from 0 and never go back. The client uses slot n again only when it has taken answer n, and so never has more
 * than `slots` requests that are not answered; a server that sees more ends the ring.
 *
 * Waiting: a side that finds nothing looks again for a short time, then stores 1 in its word (`server_asleep`,
 * `client_asleep`), executes a full fence, looks once more, and waits on the word as a shared futex. The other
 * side, after it has counted a request or an answer, executes a full fence and looks at the word: at 1 it stores
 * 0 and wakes one. No wait is endless, so that a lost wake-up or a dead peer costs a time, not the ring.
 *
 * States: `closed` is 0 while the ring is served. Then it is the status that ended it, `why` says the reason, and
 * requests without an answer will not get one.
 */
#ifndef GRANDOPT_RING_H
#define GRANDOPT_RING_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    GRANDOPT_RING_VERSION = 1,
    GRANDOPT_RING_LINE = 64,     /* what tensors are aligned to */
    GRANDOPT_RING_TABLE = 4096,  /* where the tensors are described */
    GRANDOPT_RING_TEXT = 256,
    GRANDOPT_RING_NAME = 128,
    GRANDOPT_RING_AXES = 16,
    GRANDOPT_RING_TENSORS = 64,
    GRANDOPT_RING_MOST_SLOTS = 4096
};
#define GRANDOPT_RING_MAGIC "grandopt ring"

enum { /* what became of a request, or of the ring */
    GRANDOPT_RING_OK = 0,
    GRANDOPT_RING_INVALID = 1,     /* the client does not follow the protocol */
    GRANDOPT_RING_NOT_FOUND = 2,   /* no such agent */
    GRANDOPT_RING_LATE = 3,        /* the deadline passed before the answer */
    GRANDOPT_RING_FAILED = 4,      /* the agent failed */
    GRANDOPT_RING_UNAVAILABLE = 5, /* not served: unloaded, stopping, or too many rings */
    GRANDOPT_RING_FORBIDDEN = 6,   /* not for this user */
    GRANDOPT_RING_GONE = 7,        /* no server, or it went away */
    GRANDOPT_RING_FULL = 8         /* all slots are in use: receive first */
};

enum { /* element types */
    GRANDOPT_RING_FLOAT32 = 1, GRANDOPT_RING_FLOAT64, GRANDOPT_RING_FLOAT16, GRANDOPT_RING_INT64,
    GRANDOPT_RING_INT32, GRANDOPT_RING_INT16, GRANDOPT_RING_INT8, GRANDOPT_RING_UINT8, GRANDOPT_RING_BOOL
};

typedef struct {
    char magic[16];
    uint32_t version;
    uint32_t slots; /* wanted; 0 leaves it to the server */
    char agent[GRANDOPT_RING_NAME];
} grandopt_ring_hello;

typedef struct {
    char magic[16];
    uint32_t version;
    uint32_t status;
    char text[GRANDOPT_RING_TEXT];
} grandopt_ring_reply;

typedef struct {
    char name[GRANDOPT_RING_NAME];
    uint32_t dtype, axes;
    uint64_t shape[GRANDOPT_RING_AXES]; /* of one observation */
    uint64_t offset, bytes;             /* in a slot */
} grandopt_ring_tensor;

typedef struct { /* at the beginning of the file; each side's variables have cache lines of their own */
    char magic[16];
    uint32_t version, slots, inputs, outputs;
    uint64_t bytes, first_slot, slot_bytes, answer;
    unsigned char unused[1024 - 64];
    uint64_t requests; /* how many were sent; the client's */
    unsigned char unused1[120];
    uint32_t client_asleep;
    unsigned char unused2[124];
    uint64_t answers; /* how many were given; the server's */
    unsigned char unused3[120];
    uint32_t server_asleep;
    unsigned char unused4[124];
    uint32_t closed;
    unsigned char unused5[60];
    char why[GRANDOPT_RING_TEXT];
} grandopt_ring_shape;

typedef struct {
    uint64_t number;
    uint64_t deadline_ns; /* of CLOCK_MONOTONIC; 0 for none */
    unsigned char unused[48];
} grandopt_ring_request;

typedef struct {
    uint64_t number;
    uint32_t status;
    uint32_t unused;
    uint64_t duration_ns; /* of the computation */
    unsigned char unused1[40];
    char text[GRANDOPT_RING_TEXT - 64]; /* where the status is not OK */
} grandopt_ring_answer;

/* ---- both sides --------------------------------------------------------------------------------------- */

static inline uint64_t grandopt_ring_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void grandopt_ring_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

/* Waits while `word` is 1, at most so long. */
static inline void grandopt_ring_sleep(uint32_t *word, uint64_t ns) {
    struct timespec limit;
    limit.tv_sec = (time_t)(ns / 1000000000u), limit.tv_nsec = (long)(ns % 1000000000u);
    syscall(SYS_futex, word, FUTEX_WAIT, 1, &limit, NULL, 0);
}

/* Wakes the side that sleeps on `word`, if it does. */
static inline void grandopt_ring_wake(uint32_t *word) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(word, __ATOMIC_RELAXED) == 0) return;
    __atomic_store_n(word, 0, __ATOMIC_RELAXED);
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* ---- the client --------------------------------------------------------------------------------------- */

typedef struct {
    int socket;
    uint32_t slots, inputs, outputs;
    unsigned char *memory;
    uint64_t bytes, first_slot, slot_bytes, answer;
    uint64_t sent, taken; /* requests, answers */
    uint64_t abandoned;   /* answers that nobody waits for any more, the next ones */
    uint64_t spin_ns;     /* how long an answer is looked for before sleeping; may be set */
    grandopt_ring_tensor tensors[GRANDOPT_RING_TENSORS]; /* inputs, then outputs */
    char error[GRANDOPT_RING_TEXT + 128];
} grandopt_ring;

static inline int grandopt_ring_fail(grandopt_ring *ring, int status, const char *text) {
    snprintf(ring->error, sizeof ring->error, "%s", text);
    return status;
}

static inline void grandopt_ring_close(grandopt_ring *ring) {
    if (ring->memory != NULL) munmap(ring->memory, (size_t)ring->bytes);
    if (ring->socket >= 0) close(ring->socket);
    ring->memory = NULL, ring->socket = -1;
}

/* The reply, and in `file` the descriptor that came with it. */
static inline int grandopt_ring_meet(grandopt_ring *ring, grandopt_ring_reply *reply, int *file) {
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    size_t got = 0;
    memset(&control, 0, sizeof control);
    while (got < sizeof *reply) {
        struct iovec part;
        struct msghdr message;
        memset(&message, 0, sizeof message);
        part.iov_base = (char *)reply + got, part.iov_len = sizeof *reply - got;
        message.msg_iov = &part, message.msg_iovlen = 1;
        message.msg_control = control.room, message.msg_controllen = sizeof control.room;
        ssize_t more = recvmsg(ring->socket, &message, MSG_CMSG_CLOEXEC);
        if (more < 0 && errno == EINTR) continue;
        if (more <= 0) return grandopt_ring_fail(ring, GRANDOPT_RING_GONE, "the server hung up, or did not answer");
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        if (head != NULL && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS && *file < 0) {
            memcpy(file, CMSG_DATA(head), sizeof *file);
        }
        got += (size_t)more;
    }
    reply->text[sizeof reply->text - 1] = 0;
    if (memcmp(reply->magic, GRANDOPT_RING_MAGIC, sizeof GRANDOPT_RING_MAGIC) != 0) {
        return grandopt_ring_fail(ring, GRANDOPT_RING_INVALID, "what answered is no ring of grandopt");
    }
    if (reply->status != GRANDOPT_RING_OK) return grandopt_ring_fail(ring, (int)reply->status, reply->text);
    if (reply->version != GRANDOPT_RING_VERSION || *file < 0) {
        return grandopt_ring_fail(ring, GRANDOPT_RING_INVALID, "the server speaks another version of the protocol");
    }
    return GRANDOPT_RING_OK;
}

/* Maps the file and checks that what it says lies within it. */
static inline int grandopt_ring_map(grandopt_ring *ring, int file) {
    struct stat status;
    if (fstat(file, &status) != 0 || status.st_size < GRANDOPT_RING_TABLE) {
        return grandopt_ring_fail(ring, GRANDOPT_RING_INVALID, "the shared file is too small");
    }
    ring->bytes = (uint64_t)status.st_size;
    void *memory = mmap(NULL, (size_t)ring->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) return grandopt_ring_fail(ring, GRANDOPT_RING_GONE, "the shared file cannot be mapped");
    ring->memory = (unsigned char *)memory;
    const grandopt_ring_shape *shape = (const grandopt_ring_shape *)memory;
    ring->slots = shape->slots, ring->inputs = shape->inputs, ring->outputs = shape->outputs;
    ring->first_slot = shape->first_slot, ring->slot_bytes = shape->slot_bytes, ring->answer = shape->answer;
    uint64_t tensors = (uint64_t)ring->inputs + ring->outputs;
    int fits = shape->bytes == ring->bytes && ring->slots >= 2 && (ring->slots & (ring->slots - 1)) == 0 &&
               ring->slots <= GRANDOPT_RING_MOST_SLOTS && tensors <= GRANDOPT_RING_TENSORS &&
               GRANDOPT_RING_TABLE + tensors * sizeof(grandopt_ring_tensor) <= ring->first_slot &&
               ring->first_slot <= ring->bytes && ring->slot_bytes <= (ring->bytes - ring->first_slot) / ring->slots &&
               ring->slot_bytes >= sizeof(grandopt_ring_answer) &&
               ring->answer <= ring->slot_bytes - sizeof(grandopt_ring_answer);
    if (fits) memcpy(ring->tensors, ring->memory + GRANDOPT_RING_TABLE, (size_t)tensors * sizeof *ring->tensors);
    for (uint64_t i = 0; fits && i < tensors; ++i) {
        const grandopt_ring_tensor *tensor = &ring->tensors[i];
        fits = tensor->offset <= ring->slot_bytes && tensor->bytes <= ring->slot_bytes - tensor->offset;
    }
    return fits ? GRANDOPT_RING_OK : grandopt_ring_fail(ring, GRANDOPT_RING_INVALID, "the shared file is damaged");
}

/* Connects to `agent` of the server at `path`; `slots` 0 leaves it to the server how many requests may be under
 * way. OK or another status, with `error` in words; nothing has to be closed then. */
static inline int grandopt_ring_open(grandopt_ring *ring, const char *path, const char *agent, uint32_t slots) {
    struct sockaddr_un address;
    struct timeval patience;
    grandopt_ring_hello hello;
    grandopt_ring_reply reply;
    int file = -1;
    memset(ring, 0, sizeof *ring), memset(&address, 0, sizeof address), memset(&hello, 0, sizeof hello);
    ring->socket = -1, ring->spin_ns = 20000;
    address.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address.sun_path || strlen(agent) >= sizeof hello.agent) {
        return grandopt_ring_fail(ring, GRANDOPT_RING_INVALID, "the path or the agent's name is too long");
    }
    memcpy(address.sun_path, path, strlen(path)), memcpy(hello.agent, agent, strlen(agent));
    memcpy(hello.magic, GRANDOPT_RING_MAGIC, sizeof GRANDOPT_RING_MAGIC);
    hello.version = GRANDOPT_RING_VERSION, hello.slots = slots;
    patience.tv_sec = 10, patience.tv_usec = 0;
    ring->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (ring->socket < 0 || connect(ring->socket, (struct sockaddr *)&address, sizeof address) != 0) {
        snprintf(ring->error, sizeof ring->error, "%.200s: no server answers there: %s", path, strerror(errno));
        grandopt_ring_close(ring);
        return GRANDOPT_RING_GONE;
    }
    setsockopt(ring->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    int status = send(ring->socket, &hello, sizeof hello, MSG_NOSIGNAL) == (ssize_t)sizeof hello
                     ? grandopt_ring_meet(ring, &reply, &file)
                     : grandopt_ring_fail(ring, GRANDOPT_RING_GONE, "the server hung up");
    if (status == GRANDOPT_RING_OK) status = grandopt_ring_map(ring, file);
    if (file >= 0) close(file);
    if (status != GRANDOPT_RING_OK) grandopt_ring_close(ring);
    return status;
}

static inline unsigned char *grandopt_ring_slot(const grandopt_ring *ring, uint64_t number) {
    return ring->memory + ring->first_slot + (number & (ring->slots - 1)) * ring->slot_bytes;
}

/* Where input `i` of the next request is to be written; GRANDOPT_RING_FULL comes from `send`. */
static inline void *grandopt_ring_input(const grandopt_ring *ring, uint32_t i) {
    return grandopt_ring_slot(ring, ring->sent) + ring->tensors[i].offset;
}

/* Output `i` of the answer that `receive` gave; it stays until the next `receive`. */
static inline const void *grandopt_ring_output(const grandopt_ring *ring, uint32_t i) {
    return grandopt_ring_slot(ring, ring->taken - 1) + ring->tensors[ring->inputs + i].offset;
}

/* Whether another request may be sent: `slots - 1` are under way at most. */
static inline int grandopt_ring_has_room(const grandopt_ring *ring) {
    return ring->sent - ring->taken < ring->slots - 1;
}

/* Sends what was written to the inputs; it is answered within `timeout_ns`, 0 for no limit, or LATE. */
static inline int grandopt_ring_send(grandopt_ring *ring, uint64_t timeout_ns) {
    grandopt_ring_shape *shape = (grandopt_ring_shape *)ring->memory;
    if (!grandopt_ring_has_room(ring)) {
        return grandopt_ring_fail(ring, GRANDOPT_RING_FULL, "all slots are in use; receive an answer first");
    }
    grandopt_ring_request *request = (grandopt_ring_request *)grandopt_ring_slot(ring, ring->sent);
    request->number = ring->sent;
    request->deadline_ns = timeout_ns != 0 ? grandopt_ring_now() + timeout_ns : 0;
    __atomic_store_n(&shape->requests, ++ring->sent, __ATOMIC_RELEASE);
    grandopt_ring_wake(&shape->server_asleep);
    return GRANDOPT_RING_OK;
}

static inline int grandopt_ring_hung_up(const grandopt_ring *ring) {
    char byte;
    ssize_t got = recv(ring->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

/* Waits until there is an answer more than were taken, until `limit` (0: for ever). */
static inline int grandopt_ring_await(grandopt_ring *ring, uint64_t limit) {
    grandopt_ring_shape *shape = (grandopt_ring_shape *)ring->memory;
    uint64_t now = grandopt_ring_now(), awake = now + ring->spin_ns;
    for (int looks = 0; __atomic_load_n(&shape->answers, __ATOMIC_ACQUIRE) == ring->taken; ++looks) {
        if (now < awake) {
            grandopt_ring_pause();
            if (looks % 32 == 31) now = grandopt_ring_now();
            continue;
        }
        uint32_t closed = __atomic_load_n(&shape->closed, __ATOMIC_ACQUIRE);
        if (closed != 0 && __atomic_load_n(&shape->answers, __ATOMIC_ACQUIRE) == ring->taken) {
            char why[GRANDOPT_RING_TEXT];
            memcpy(why, shape->why, sizeof why), why[sizeof why - 1] = 0;
            return grandopt_ring_fail(ring, (int)closed, why);
        }
        if (limit != 0 && now >= limit) return grandopt_ring_fail(ring, GRANDOPT_RING_LATE, "no answer in time");
        uint64_t nap = limit != 0 && limit - now < 100000000u ? limit - now : 100000000u;
        __atomic_store_n(&shape->client_asleep, 1, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (__atomic_load_n(&shape->answers, __ATOMIC_ACQUIRE) == ring->taken) {
            grandopt_ring_sleep(&shape->client_asleep, nap);
        }
        __atomic_store_n(&shape->client_asleep, 0, __ATOMIC_RELAXED);
        now = grandopt_ring_now();
        if (__atomic_load_n(&shape->answers, __ATOMIC_ACQUIRE) == ring->taken && grandopt_ring_hung_up(ring)) {
            if (__atomic_load_n(&shape->closed, __ATOMIC_ACQUIRE) != 0) continue;
            return grandopt_ring_fail(ring, GRANDOPT_RING_GONE, "the server went away");
        }
    }
    return GRANDOPT_RING_OK;
}

/* The answer to the oldest request without one: its status, `error` in words, and the outputs by
 * `grandopt_ring_output`. LATE where none came within `timeout_ns` (0: for ever); it may be received later. */
static inline int grandopt_ring_receive(grandopt_ring *ring, uint64_t timeout_ns) {
    uint64_t limit = timeout_ns != 0 ? grandopt_ring_now() + timeout_ns : 0;
    for (;;) {
        if (ring->taken == ring->sent) {
            return grandopt_ring_fail(ring, GRANDOPT_RING_INVALID, "no request is under way");
        }
        int status = grandopt_ring_await(ring, limit);
        if (status != GRANDOPT_RING_OK) return status;
        const grandopt_ring_answer *answer =
            (const grandopt_ring_answer *)(grandopt_ring_slot(ring, ring->taken) + ring->answer);
        ++ring->taken;
        if (ring->abandoned != 0) {
            --ring->abandoned;
            continue;
        }
        if (answer->status == GRANDOPT_RING_OK) return GRANDOPT_RING_OK;
        snprintf(ring->error, sizeof ring->error, "%.*s", (int)sizeof answer->text, answer->text);
        return (int)answer->status;
    }
}

/* One request and its answer: `in` has a pointer per input, `out` one per output. None may be under way. */
static inline int grandopt_ring_call(grandopt_ring *ring, const void *const *in, void *const *out,
                                     uint64_t timeout_ns) {
    if (!grandopt_ring_has_room(ring) && ring->abandoned != 0) { /* those of calls that were given up */
        --ring->abandoned;
        int drained = grandopt_ring_await(ring, timeout_ns != 0 ? grandopt_ring_now() + timeout_ns : 0);
        if (drained != GRANDOPT_RING_OK) return ++ring->abandoned, drained;
        ++ring->taken;
    }
    if (grandopt_ring_has_room(ring)) {
        for (uint32_t i = 0; i < ring->inputs; ++i) {
            memcpy(grandopt_ring_input(ring, i), in[i], (size_t)ring->tensors[i].bytes);
        }
    }
    int status = grandopt_ring_send(ring, timeout_ns);
    if (status != GRANDOPT_RING_OK) return status;
    status = grandopt_ring_receive(ring, timeout_ns);
    if (ring->taken != ring->sent) ring->abandoned = ring->sent - ring->taken;
    if (status != GRANDOPT_RING_OK) return status;
    for (uint32_t i = 0; i < ring->outputs; ++i) {
        memcpy(out[i], grandopt_ring_output(ring, i), (size_t)ring->tensors[ring->inputs + i].bytes);
    }
    return GRANDOPT_RING_OK;
}

#endif
