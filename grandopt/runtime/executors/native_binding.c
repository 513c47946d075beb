/* The call path from Python to a native agent, on CPython's stable ABI (3.11 and later).
 *
 * One type, Agent: it opens a shared object with `int <name>_invoke(const void *const *in, void *const *out,
 * int64_t batch, void *scratch)`, and calls it on NumPy arrays, or on anything with the buffer protocol. Nothing
 * reaches the shared object that was not checked: dtype, shape, layout, alignment, writeability, overlap. What
 * does not fit goes to the callable `explain`, which raises.
 */
#include "native_arguments.h"
#include "native_scratch.h"
#include "native_tiles.h"

/* ---- the call ----------------------------------------------------------------------------------------- */

static bool forward(Agent *self, const Memory *memories, int64_t batch) {
    const void *in[MOST_TENSORS];
    void *out[MOST_TENSORS];
    for (int i = 0; i < self->inputs; ++i) in[i] = memories[i].data;
    for (int i = 0; i < self->outputs; ++i) out[i] = memories[self->inputs + i].data;
    void *scratch = take_scratch(self);
    if (scratch == NULL && self->scratch_bytes != 0) return false;
    int fault;
    if (batch >= self->release_batch) {
        PyThreadState *state = PyEval_SaveThread();
        fault = self->invoke(in, out, batch, scratch);
        PyEval_RestoreThread(state);
    } else {
        fault = self->invoke(in, out, batch, scratch);
    }
    give_scratch(self, scratch);
    return fault == 0 || refuse(self, fault, Py_None, "fault");
}

/* ---- methods ------------------------------------------------------------------------------------------ */

static void let_go(PyObject **held, int count) {
    for (int i = 0; i < count; ++i) Py_DECREF(held[i]);
}

/* The items of a tuple or list, with a reference to each: another thread, or code of an argument's own, may
 * empty a list while the call runs. Other sequences are refused. */
static bool items(const Agent *self, PyObject *sequence, int wanted, bool written, PyObject **into) {
    bool tuple = PyTuple_Check(sequence);
    Py_ssize_t size = tuple ? PyTuple_Size(sequence) : PyList_Check(sequence) ? PyList_Size(sequence) : -1;
    if (size != wanted) return refuse(self, written ? self->inputs : 0, sequence, written ? "outputs" : "inputs");
    for (int i = 0; i < wanted; ++i) {
        into[i] = Py_NewRef(tuple ? PyTuple_GetItem(sequence, i) : PyList_GetItem(sequence, i));
    }
    return true;
}

static bool take_all(
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
    done = batch > 0 && !overlap(self, memories, batch, given) && forward(self, memories, batch);
    drop(memories, taken);
    let_go(given, total);
    return done ? Py_NewRef(Py_None) : NULL;
}

/* New output arrays, [batch, ...] or, for batch -1, without that axis. */
static bool make_outputs(const Agent *self, int64_t batch, PyObject **arrays, Memory *memories) {
    for (int i = 0; i < self->outputs; ++i) {
        const Tensor *tensor = &self->tensors[self->inputs + i];
        npy_intp shape[MOST_AXES + 1];
        int lead = batch > 0;
        shape[0] = (npy_intp)batch;
        memcpy(shape + lead, tensor->shape, (size_t)tensor->axes * sizeof *shape);
        Py_INCREF((PyObject *)tensor->descr);
        arrays[i] = PyArray_NewFromDescr(
            &PyArray_Type, tensor->descr, lead + tensor->axes, shape, NULL, NULL, 0, NULL);
        if (arrays[i] == NULL) {
            let_go(arrays, i);
            return false;
        }
        memories[self->inputs + i].data = PyArray_DATA((PyArrayObject *)arrays[i]);
    }
    return true;
}

static PyObject *as_tuple(PyObject **arrays, int count) {
    PyObject *result = PyTuple_New(count);
    for (int i = 0; i < count; ++i) {
        if (result != NULL) PyTuple_SetItem(result, i, arrays[i]);
        else Py_DECREF(arrays[i]);
    }
    return result;
}

/* The outputs of a call, in `arrays`; `lone` says whether inputs without a batch give outputs without one. */
static bool compute(Agent *self, PyObject *const *given, bool lone, PyObject **arrays) {
    Memory memories[MOST_TENSORS];
    int taken = 0;
    bool done = take_all(self, given, 0, self->inputs, memories, &taken);
    int64_t batch = done ? common_batch(self, memories, 0, self->inputs, given) : 0;
    done = batch > 0 && make_outputs(self, lone && memories[0].batch < 0 ? -1 : batch, arrays, memories);
    if (done && !forward(self, memories, batch)) {
        let_go(arrays, self->outputs);
        done = false;
    }
    drop(memories, taken);
    return done;
}

static PyObject *agent_run(PyObject *object, PyObject *inputs) {
    Agent *self = (Agent *)object;
    PyObject *given[MOST_TENSORS], *arrays[MOST_TENSORS];
    if (!import_numpy(self) || !items(self, inputs, self->inputs, false, given)) return NULL;
    bool done = compute(self, given, false, arrays);
    let_go(given, self->inputs);
    return done ? as_tuple(arrays, self->outputs) : NULL;
}

/* Whether the arguments are arrays that can be taken as they are; else the caller converts or complains. */
static bool fits(const Agent *self, PyObject *const *args, Py_ssize_t count) {
    if (count != self->inputs) return false;
    int64_t batch = 0, first = 0;
    for (int i = 0; i < self->inputs; ++i) {
        PyArrayObject *array = (PyArrayObject *)args[i];
        if (!PyArray_CheckExact(args[i]) || PyArray_DESCR(array) != self->tensors[i].descr) return false;
        if (!PyArray_CHKFLAGS(array, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED)) return false;
        if (!same_shape(&self->tensors[i], PyArray_NDIM(array), PyArray_DIMS(array), &batch)) return false;
        if (i == 0) first = batch;
        if (batch == 0 || batch != first) return false;
    }
    return true;
}

static PyObject *agent_act(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Agent *self = (Agent *)object;
    PyObject *arrays[MOST_TENSORS];
    if (!meet_numpy(self)) return NULL;
    if (!self->numpy || !fits(self, args, count)) return Py_NewRef(Py_NotImplemented);
    if (!compute(self, args, true, arrays)) return NULL;
    return self->outputs == 1 ? arrays[0] : as_tuple(arrays, self->outputs);
}

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

static bool open_library(Agent *self, const char *path, const char *symbol) {
    self->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (self->library == NULL) {
        PyErr_SetString(PyExc_OSError, dlerror());
        return false;
    }
    void *entry = dlsym(self->library, symbol);
    if (entry == NULL) {
        PyErr_Format(PyExc_OSError, "%s has no function %s", path, symbol);
        return false;
    }
    memcpy(&self->invoke, &entry, sizeof entry);
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
    self->inputs = (int)count, self->outputs = (int)(total - count);
    self->release_batch = release, self->scratch_bytes = (size_t)scratch;
    self->explain = Py_NewRef(explain);
    bool made = self->tensors != NULL || PyErr_NoMemory() != NULL;
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
    while (self->count > 0) free(self->blocks[--self->count]);
    free(self->blocks), free(self->tensors);
    if (self->library != NULL) dlclose(self->library);
    Py_XDECREF(self->explain);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyMethodDef agent_methods[] = {
    {"run", agent_run, METH_O, "run(inputs) -> tuple of new arrays [batch, ...]"},
    {"run_into", (PyCFunction)(void (*)(void))agent_run_into, METH_FASTCALL, "run_into(inputs, outputs)"},
    {"act", (PyCFunction)(void (*)(void))agent_act, METH_FASTCALL,
     "act(*inputs) -> output or tuple of outputs, or NotImplemented if an input must be converted first"},
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
    PyObject *type = PyType_FromSpec(&agent_spec);
    if (type == NULL) return -1;
    int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return failed;
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
