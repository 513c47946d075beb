/* A bound call that answers the requests of a ring. Part of `native_binding.c`, which alone includes it. */

typedef struct {
    Bound *bound;
    void *scratch;
} RingCall;

static int ring_compute(void *call) {
    const RingCall *self = call;
    Bound *bound = self->bound;
    return bound->agent->invoke(bound->in, bound->out, 1, self->scratch);
}

/* Without the GIL: for as long as it serves, this thread computes on the arrays of the bound call. */
static int serve_without_lock(Bound *self, RingControl *control, Py_buffer *ring, uint32_t *spinning, uint32_t limit,
                              bool *fits) {
    size_t bytes[MOST_TENSORS];
    unsigned char *own[MOST_TENSORS];
    Agent *agent = self->agent;
    RingCall call = {self, take_scratch(agent)};
    if (call.scratch == NULL && agent->scratch_bytes != 0) return -1;
    for (int i = 0; i < agent->inputs + agent->outputs; ++i) {
        bytes[i] = (size_t)agent->tensors[i].bytes, own[i] = (unsigned char *)self->memories[i].data;
    }
    const RingAgent served = {agent->inputs, agent->outputs, bytes, own, ring_compute, &call};
    *fits = ring_fits(control, &served, (size_t)ring->len);
    int end = RING_STOPPED;
    if (*fits) {
        PyThreadState *state = PyEval_SaveThread();
        end = ring_serve(control, &served, ring->buf, spinning, limit);
        PyEval_RestoreThread(state);
    }
    give_scratch(agent, call.scratch);
    return end;
}

/* serve_ring_1(ring, control, spinning, limit) -> 0 when told to stop, 1 when the client broke the protocol */
static PyObject *bound_serve(PyObject *object, PyObject *args) {
    Bound *self = (Bound *)object;
    Py_buffer ring, control, spinning;
    unsigned int limit;
    if (!PyArg_ParseTuple(args, "w*w*w*I", &ring, &control, &spinning, &limit)) return NULL;
    bool fits = false;
    int end = RING_STOPPED;
    bool held = self->batch == 1 && (size_t)control.len >= sizeof(RingControl) && spinning.len >= 4 &&
                (uintptr_t)control.buf % sizeof(uint64_t) == 0 && (uintptr_t)spinning.buf % 4 == 0 &&
                (uintptr_t)ring.buf % GRANDOPT_RING_LINE == 0;
    if (held) end = serve_without_lock(self, control.buf, &ring, spinning.buf, limit, &fits);
    PyBuffer_Release(&ring), PyBuffer_Release(&control), PyBuffer_Release(&spinning);
    if (end < 0) return NULL;
    if (fits) return PyLong_FromLong(end);
    PyErr_SetString(PyExc_ValueError, "the ring does not fit the bound call");
    return NULL;
}

static PyMethodDef bound_methods[] = {
    {"serve_ring_1", bound_serve, METH_VARARGS,
     "serve_ring_1(ring, control, spinning, limit): answer requests until told to stop; version 1 of the protocol"},
    {NULL, NULL, 0, NULL},
};
