/* The call path from Python to a native agent, on CPython's stable ABI (3.11 and later).
 *
 * One type, Agent: it opens a shared object with `int <name>_invoke(const void *const *in, void *const *out,
 * int64_t batch, void *scratch)`, and calls it on NumPy arrays, or on anything with the buffer protocol. Nothing
 * reaches the shared object that was not checked: dtype, shape, layout, alignment, writeability, overlap. What
 * does not fit goes to the callable `explain`, which raises.
 */
#include "native_arguments.h"
#include "grandopt_ring.h"
#include "native_library.h"
#include "native_outputs.h"
#include "native_ring.h"
#include "native_scratch.h"
#include "native_tiles.h"

/* ---- the call ----------------------------------------------------------------------------------------- */

typedef int (*way)(const Agent *self, const void *const *in, void *const *out, int64_t batch, void *scratch);

static int together(const Agent *self, const void *const *in, void *const *out, int64_t batch, void *scratch) {
    return self->invoke(in, out, batch, scratch);
}

/* Sample by sample: kernels for several at once add up in another order, and have other last bits. */
static int each(const Agent *self, const void *const *in, void *const *out, int64_t batch, void *scratch) {
    const void *from[MOST_TENSORS];
    void *to[MOST_TENSORS];
    int fault = 0;
    for (int64_t sample = 0; sample < batch && fault == 0; ++sample) {
        for (int i = 0; i < self->inputs; ++i) from[i] = (const char *)in[i] + sample * self->tensors[i].bytes;
        const Tensor *outputs = self->tensors + self->inputs;
        for (int i = 0; i < self->outputs; ++i) to[i] = (char *)out[i] + sample * outputs[i].bytes;
        fault = self->invoke(from, to, 1, scratch);
    }
    return fault;
}

static inline bool perform(
    Agent *self, const void *const *in, void *const *out, int64_t batch, way compute) {
    void *scratch = take_scratch(self);
    if (scratch == NULL && self->scratch_bytes != 0) return false;
    int fault;
    if (batch >= self->release_batch) {
        PyThreadState *state = PyEval_SaveThread();
        fault = compute(self, in, out, batch, scratch);
        PyEval_RestoreThread(state);
    } else {
        fault = compute(self, in, out, batch, scratch);
    }
    give_scratch(self, scratch);
    return fault == 0 || refuse(self, fault, Py_None, "fault");
}

static inline bool forward(Agent *self, const Memory *memories, int64_t batch, way compute) {
    const void *in[MOST_TENSORS];
    void *out[MOST_TENSORS];
    for (int i = 0; i < self->inputs; ++i) in[i] = memories[i].data;
    for (int i = 0; i < self->outputs; ++i) out[i] = memories[self->inputs + i].data;
    return perform(self, in, out, batch, compute);
}

/* ---- methods ------------------------------------------------------------------------------------------ */

/* The items of a tuple or list, with a reference to each: another thread, or code of an argument's own, may
 * empty a list while the call runs. Other sequences are refused. */
static inline bool items(const Agent *self, PyObject *sequence, int wanted, bool written, PyObject **into) {
    bool tuple = PyTuple_Check(sequence);
    Py_ssize_t size = tuple ? PyTuple_Size(sequence) : PyList_Check(sequence) ? PyList_Size(sequence) : -1;
    if (size != wanted) return refuse(self, written ? self->inputs : 0, sequence, written ? "outputs" : "inputs");
    for (int i = 0; i < wanted; ++i) {
        into[i] = Py_NewRef(tuple ? PyTuple_GetItem(sequence, i) : PyList_GetItem(sequence, i));
    }
    return true;
}

static inline bool take_all(
    const Agent *self, PyObject *const *given, int from, int to, Memory *memories, int *taken) {
    for (int i = from; i < to; ++i) {
        bool fits = take(self, i, given[i], i >= self->inputs, &memories[i]);
        *taken = i + 1;
        if (!fits) return false;
    }
    return true;
}

static PyObject *agent_run_into(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Agent *self = (Agent *)object;
    if (count != 2) {
        PyErr_Format(PyExc_TypeError, "run_into takes inputs and outputs, got %zd argument(s)", count);
        return NULL;
    }
    int total = self->inputs + self->outputs, taken = 0;
    PyObject *given[MOST_TENSORS];
    Memory memories[MOST_TENSORS];
    if (!meet_numpy(self) || !items(self, args[0], self->inputs, false, given)) return NULL;
    if (!items(self, args[1], self->outputs, true, given + self->inputs)) {
        let_go(given, self->inputs);
        return NULL;
    }
    bool done = take_all(self, given, 0, total, memories, &taken);
    int64_t batch = done ? common_batch(self, memories, 0, total, given) : 0;
    done = batch > 0 && !overlap(self, memories, batch, given) && forward(self, memories, batch, together);
    drop(memories, taken);
    let_go(given, total);
    return done ? Py_NewRef(Py_None) : NULL;
}

/* The outputs of a call on memory that was checked, in `arrays`. */
static inline bool compute(
    Agent *self, Memory *memories, int64_t batch, bool lone, way how, PyObject **arrays) {
    if (!make_outputs(self, lone ? -1 : batch, arrays, memories)) return false;
    if (forward(self, memories, batch, how)) return true;
    let_go(arrays, self->outputs);
    return false;
}

static inline PyObject *run(Agent *self, PyObject *inputs, way how) {
    PyObject *given[MOST_TENSORS], *arrays[MOST_TENSORS];
    Memory memories[MOST_TENSORS];
    int taken = 0;
    if (!import_numpy(self) || !items(self, inputs, self->inputs, false, given)) return NULL;
    bool done = take_all(self, given, 0, self->inputs, memories, &taken);
    int64_t batch = done ? common_batch(self, memories, 0, self->inputs, given) : 0;
    done = batch > 0 && compute(self, memories, batch, false, how, arrays);
    drop(memories, taken);
    let_go(given, self->inputs);
    return done ? as_tuple(arrays, self->outputs) : NULL;
}

static PyObject *agent_run(PyObject *object, PyObject *inputs) { return run((Agent *)object, inputs, together); }

static PyObject *agent_run_each(PyObject *object, PyObject *inputs) { return run((Agent *)object, inputs, each); }

/* Whether the arguments are arrays that can be taken as they are; else the caller converts or complains. `batch` is
 * -1 where they have none. */
static bool fits(const Agent *self, PyObject *const *args, Py_ssize_t count, Memory *memories, int64_t *batch) {
    if (count != self->inputs) return false;
    for (int i = 0; i < self->inputs; ++i) {
        PyArrayObject *array = (PyArrayObject *)args[i];
        if (!PyArray_CheckExact(args[i]) || PyArray_DESCR(array) != self->tensors[i].descr) return false;
        if (!PyArray_CHKFLAGS(array, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED)) return false;
        int64_t *own = &memories[i].batch;
        if (!same_shape(&self->tensors[i], PyArray_NDIM(array), PyArray_DIMS(array), own)) return false;
        if (i == 0) *batch = *own;
        if (*own == 0 || *own != *batch) return false;
        memories[i].data = PyArray_DATA(array);
    }
    return true;
}

/* A call as a function of the observation. `taken` is false, and there is no exception, where an argument does not
 * fit as it is. */
static PyObject *act(Agent *self, PyObject *const *args, Py_ssize_t count, bool *taken) {
    PyObject *arrays[MOST_TENSORS];
    Memory memories[MOST_TENSORS];
    int64_t batch = 0;
    *taken = true;
    if (!meet_numpy(self)) return NULL;
    *taken = self->numpy && fits(self, args, count, memories, &batch);
    if (!*taken || !compute(self, memories, batch < 0 ? 1 : batch, batch < 0, together, arrays)) return NULL;
    return self->outputs == 1 ? arrays[0] : as_tuple(arrays, self->outputs);
}

static PyObject *agent_act(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    bool taken;
    PyObject *result = act((Agent *)object, args, count, &taken);
    return taken ? result : Py_NewRef(Py_NotImplemented);
}

static PyTypeObject *agent_type, *bound_type, *policy_type; /* of the one interpreter that has them, see fill_module */

#include "native_bound.h"
#include "native_policy.h"

/* ---- the type ----------------------------------------------------------------------------------------- */

static bool read_tensor(PyObject *spec, Tensor *tensor) {
    const char *dtype;
    PyObject *shape;
    if (!PyArg_ParseTuple(spec, "sO!", &dtype, &PyTuple_Type, &shape)) return false;
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; ++i) {
        if (strcmp(dtype, TYPES[i].name) == 0) tensor->type = &TYPES[i];
    }
    if (tensor->type == NULL) {
        PyErr_Format(PyExc_ValueError, "a tensor has the unknown dtype %s", dtype);
        return false;
    }
    Py_ssize_t axes = PyTuple_Size(shape);
    if (axes > MOST_AXES) {
        PyErr_Format(PyExc_ValueError, "a tensor has %zd axes, at most %d are possible", axes, MOST_AXES);
        return false;
    }
    tensor->axes = (int)axes;
    tensor->bytes = tensor->type->bytes;
    for (int i = 0; i < tensor->axes; ++i) {
        Py_ssize_t size = PyLong_AsSsize_t(PyTuple_GetItem(shape, i));
        if (size == -1 && PyErr_Occurred()) return false;
        if (size < 1 || __builtin_mul_overflow(tensor->bytes, size, &tensor->bytes)) {
            PyErr_Format(PyExc_ValueError, "a tensor has the impossible size %zd", size);
            return false;
        }
        tensor->shape[i] = size;
    }
    return true;
}

static PyObject *agent_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    const char *symbol;
    PyObject *path, *inputs, *outputs, *explain;
    Py_ssize_t scratch;
    long long release;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "SsO!O!nLO", &path, &symbol, &PyTuple_Type, &inputs, &PyTuple_Type, &outputs,
                          &scratch, &release, &explain)) {
        return NULL;
    }
    Py_ssize_t count = PyTuple_Size(inputs), total = count + PyTuple_Size(outputs);
    if (count < 1 || count == total || total > MOST_TENSORS || scratch < 0) {
        PyErr_Format(PyExc_ValueError, "an agent has 2 to %d inputs and outputs, got %zd", MOST_TENSORS, total);
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Agent *self = (Agent *)allocate(type, 0);
    if (self == NULL) return NULL;
    self->tensors = calloc((size_t)total, sizeof *self->tensors);
    self->kept = calloc((size_t)(total - count) * KEPT_OUTPUTS, sizeof *self->kept);
    self->inputs = (int)count, self->outputs = (int)(total - count);
    self->release_batch = release, self->scratch_bytes = (size_t)scratch;
    self->explain = Py_NewRef(explain);
    bool made = (self->tensors != NULL && self->kept != NULL) || PyErr_NoMemory() != NULL;
    for (Py_ssize_t i = 0; made && i < total; ++i) {
        PyObject *spec = i < count ? PyTuple_GetItem(inputs, i) : PyTuple_GetItem(outputs, i - count);
        made = read_tensor(spec, &self->tensors[i]);
    }
    if (!made || !open_library(self, PyBytes_AsString(path), symbol)) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void agent_dealloc(PyObject *object) {
    Agent *self = (Agent *)object;
    PyTypeObject *type = Py_TYPE(object);
    for (int i = 0; self->tensors != NULL && i < self->inputs + self->outputs; ++i) {
        Py_XDECREF((PyObject *)self->tensors[i].descr);
    }
    for (int i = 0; self->kept != NULL && i < self->outputs * KEPT_OUTPUTS; ++i) Py_XDECREF(self->kept[i].array);
    while (self->count > 0) free(self->blocks[--self->count]);
    free(self->blocks), free(self->tensors), free(self->kept);
    if (self->library != NULL) dlclose(self->library);
    Py_XDECREF(self->explain);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyMethodDef agent_methods[] = {
    {"run", agent_run, METH_O, "run(inputs) -> tuple of new arrays [batch, ...]"},
    {"run_each", agent_run_each, METH_O, "run_each(inputs) -> as run, each sample with the bits of a call of its own"},
    {"run_into", (PyCFunction)(void (*)(void))agent_run_into, METH_FASTCALL, "run_into(inputs, outputs)"},
    {"bind", (PyCFunction)(void (*)(void))agent_bind, METH_FASTCALL, "bind(inputs, outputs) -> a call without arguments"},
    {"act", (PyCFunction)(void (*)(void))agent_act, METH_FASTCALL,
     "act(*inputs) -> output or tuple of outputs, or NotImplemented if an input must be converted first"},
    {"stated", agent_stated, METH_O, "stated(name) -> the text under that name in the shared object, or None"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot agent_slots[] = {
    {Py_tp_new, agent_new},
    {Py_tp_dealloc, agent_dealloc},
    {Py_tp_methods, agent_methods},
    {Py_tp_doc, "Agent(path, symbol, inputs, outputs, scratch_bytes, release_batch, explain)"},
    {0, NULL},
};

static PyType_Spec agent_spec = {
    .name = "grandopt_native_binding.Agent",
    .basicsize = sizeof(Agent),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = agent_slots,
};

static int fill_module(PyObject *module) {
    /* NumPy's functions are found once per process, and NumPy itself belongs to the main interpreter. */
    if (PyInterpreterState_GetID(PyInterpreterState_Get()) != 0) {
        PyErr_SetString(PyExc_ImportError, "native agents run in Python's main interpreter only");
        return -1;
    }
    PyTypeObject **types[] = {&agent_type, &bound_type, &policy_type};
    PyType_Spec *specs[] = {&agent_spec, &bound_spec, &policy_spec};
    for (int i = 0; i < 3; ++i) {
        *types[i] = (PyTypeObject *)PyType_FromSpec(specs[i]); /* kept for good, as the module's code is */
        if (*types[i] == NULL || PyModule_AddType(module, *types[i]) != 0) return -1;
    }
    return 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};

static PyMethodDef functions[] = {
    {"permit_tiles", permit_tiles, METH_NOARGS, "Whether the system lets this process use AMX tiles."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, .m_name = "grandopt_native_binding", .m_methods = functions, .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit_grandopt_native_binding(void) { return PyModuleDef_Init(&module_definition); }
