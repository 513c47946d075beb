/* Bound: a call whose arrays were checked once. Part of `native_binding.c`, which alone includes it.
 *
 * It holds the arrays, and the buffers of what is no array, as long as it lives. Each call has scratch of its own, so
 * that calls from several threads are safe, though they write the same outputs.
 */
typedef struct {
    PyObject_HEAD
    vectorcall call;
    Agent *agent;
    int64_t batch;       /* 0 until all is checked */
    int held;            /* entries of `given` that are references, and of `memories` that may hold a buffer */
    Memory *memories;    /* inputs, then outputs, as `given` */
    PyObject **given;
    const void **in;
    void **out;
} Bound;

static PyObject *bound_answer(Bound *self, Py_ssize_t given) {
    if (given != 0) {
        PyErr_Format(PyExc_TypeError, "a bound call takes no arguments, got %zd", given);
        return NULL;
    }
    if (self->batch == 0) { /* code of an argument's own found it before it was ready */
        PyErr_SetString(PyExc_RuntimeError, "the arrays of this call are still being checked");
        return NULL;
    }
    return perform(self->agent, self->in, self->out, self->batch, together) ? Py_NewRef(Py_None) : NULL;
}

static PyObject *bound_vectorcall(PyObject *object, PyObject *const *args, size_t flagged, PyObject *names) {
    (void)args;
    return bound_answer((Bound *)object, argument_count(flagged) + (names != NULL ? PyTuple_Size(names) : 0));
}

static PyObject *bound_call(PyObject *object, PyObject *args, PyObject *keywords) {
    return bound_answer((Bound *)object, PyTuple_Size(args) + (keywords != NULL ? PyDict_Size(keywords) : 0));
}

/* Room for `total` tensors in one block: the memories, and three pointers' worth of arrays behind them. */
static bool make_room(Bound *self, int inputs, int total) {
    size_t each = sizeof *self->memories + 2 * sizeof(void *);
    char *block = calloc((size_t)total, each);
    if (block == NULL) return PyErr_NoMemory() != NULL;
    self->memories = (Memory *)block;
    self->given = (PyObject **)(self->memories + total);
    self->in = (const void **)(self->given + total);
    self->out = (void **)(self->in + inputs);
    return true;
}

static bool check_bound(Bound *self, PyObject *inputs, PyObject *outputs) {
    Agent *agent = self->agent;
    PyObject *given[MOST_TENSORS];
    int total = agent->inputs + agent->outputs, taken = 0;
    if (!items(agent, inputs, agent->inputs, false, given)) return false;
    if (!items(agent, outputs, agent->outputs, true, given + agent->inputs)) {
        let_go(given, agent->inputs);
        return false;
    }
    memcpy(self->given, given, (size_t)total * sizeof *given);
    self->held = total; /* the memories not yet taken hold nothing */
    if (!take_all(agent, self->given, 0, total, self->memories, &taken)) return false;
    int64_t batch = common_batch(agent, self->memories, 0, total, self->given);
    if (batch == 0 || overlap(agent, self->memories, batch, self->given)) return false;
    for (int i = 0; i < agent->inputs; ++i) self->in[i] = self->memories[i].data;
    for (int i = 0; i < agent->outputs; ++i) self->out[i] = self->memories[agent->inputs + i].data;
    self->batch = batch;
    return true;
}

static PyObject *agent_bind(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Agent *agent = (Agent *)object;
    if (count != 2) {
        PyErr_Format(PyExc_TypeError, "bind takes inputs and outputs, got %zd argument(s)", count);
        return NULL;
    }
    if (!meet_numpy(agent)) return NULL;
    Bound *self = (Bound *)((allocfunc)PyType_GetSlot(bound_type, Py_tp_alloc))(bound_type, 0);
    if (self == NULL) return NULL;
    self->agent = (Agent *)Py_NewRef(object);
    self->call = bound_vectorcall;
    if (!make_room(self, agent->inputs, agent->inputs + agent->outputs) || !check_bound(self, args[0], args[1])) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int bound_traverse(PyObject *object, visitproc visit, void *arg) {
    Bound *self = (Bound *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->agent);
    for (int i = 0; i < self->held; ++i) {
        Py_VISIT(self->given[i]);
        if (self->memories[i].held) Py_VISIT(self->memories[i].buffer.obj);
    }
    return 0;
}

static void bound_dealloc(PyObject *object) {
    Bound *self = (Bound *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    drop(self->memories, self->held);
    let_go(self->given, self->held);
    free(self->memories);
    Py_XDECREF((PyObject *)self->agent);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

#include "native_serving.h"

static PyMemberDef bound_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Bound, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* No Py_tp_clear: a cycle through it has another member that can be cleared (`given` never changes, so that a call
 * needs no check). */
static PyType_Slot bound_slots[] = {
    {Py_tp_call, bound_call},
    {Py_tp_traverse, bound_traverse},
    {Py_tp_dealloc, bound_dealloc},
    {Py_tp_members, bound_members},
    {Py_tp_methods, bound_methods},
    {Py_tp_doc, "A call of an agent on arrays that were checked; made by Agent.bind"},
    {0, NULL},
};

static PyType_Spec bound_spec = {
    .name = "grandopt_native_binding.Bound",
    .basicsize = sizeof(Bound),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             HAS_VECTORCALL,
    .slots = bound_slots,
};
