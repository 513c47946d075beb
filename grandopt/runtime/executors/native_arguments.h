/* The arguments of a call: which tensors an agent has, and the memory that is checked and taken for them.
 * Part of `native_binding.c`, which alone includes it.
 */
#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/arrayobject.h>

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define SAME_ORDER '>'
#else
#define SAME_ORDER '<'
#endif

enum { MOST_TENSORS = 64, MOST_AXES = 15, ALIGNMENT = 64, KEPT_OUTPUTS = 4, KEPT_BYTES = 4096 };

/* The fast protocol of calls. CPython has it since 3.9, its stable ABI names it from 3.12 on. */
typedef PyObject *(*vectorcall)(PyObject *callable, PyObject *const *args, size_t flagged, PyObject *names);
#define HAS_VECTORCALL (1UL << 11)

static Py_ssize_t argument_count(size_t flagged) { return (Py_ssize_t)(flagged & ~((size_t)1 << (8 * sizeof(size_t) - 1))); }

typedef int (*entry_point)(const void *const *in, void *const *out, int64_t batch, void *scratch);

typedef struct { /* one element */
    const char *name;
    char kind; /* 'f', 'i', 'u' or '?', see kind_of */
    Py_ssize_t bytes;
    int number; /* NumPy's */
} Type;

static const Type TYPES[] = {
    {"float32", 'f', 4, NPY_FLOAT32}, {"float64", 'f', 8, NPY_FLOAT64}, {"float16", 'f', 2, NPY_FLOAT16},
    {"int64", 'i', 8, NPY_INT64},     {"int32", 'i', 4, NPY_INT32},     {"int16", 'i', 2, NPY_INT16},
    {"int8", 'i', 1, NPY_INT8},       {"uint8", 'u', 1, NPY_UINT8},     {"bool", '?', 1, NPY_BOOL},
};

typedef struct { /* one input or output */
    const Type *type;
    PyArray_Descr *descr; /* NULL until NumPy was met */
    int axes;             /* of one sample */
    npy_intp shape[MOST_AXES];
    Py_ssize_t bytes; /* of one sample */
} Tensor;

typedef struct { /* the memory of one tensor during a call */
    char *data;
    int64_t batch; /* -1: given without a batch */
    bool held;     /* whether `buffer` must be released */
    Py_buffer buffer;
} Memory;

typedef struct { /* an array that was given out, see native_outputs.h */
    PyObject *array;
    int flags; /* as it was made */
} Kept;

typedef struct {
    PyObject_HEAD
    void *library;
    entry_point invoke;
    int inputs, outputs;
    Tensor *tensors;        /* inputs, then outputs */
    bool numpy;             /* whether the tensors have their `descr` */
    int64_t release_batch;  /* batches from here on run without the GIL */
    size_t scratch_bytes;
    void **blocks;          /* scratch that no call uses; guarded by the GIL */
    size_t count, capacity;
    Kept *kept;             /* KEPT_OUTPUTS for each output, used in turn; guarded by the GIL */
    int turn;
    PyObject *explain;      /* (position, given or None, reason) -> raises */
} Agent;

/* ---- NumPy -------------------------------------------------------------------------------------------- */

static bool import_numpy(Agent *self) {
    if (self->numpy) return true;
    if (PyArray_ImportNumPyAPI() < 0) return false;
    for (int i = 0; i < self->inputs + self->outputs; ++i) {
        Tensor *tensor = &self->tensors[i];
        if (tensor->descr == NULL) tensor->descr = PyArray_DescrFromType(tensor->type->number);
        if (tensor->descr == NULL) return false;
    }
    return self->numpy = true;
}

/* NumPy is a tenth of a second and 15 MB, so it is not imported for callers who have none of its arrays. False
 * after an exception. */
static bool meet_numpy(Agent *self) {
    if (self->numpy) return true;
    PyObject *name = PyUnicode_FromString("numpy");
    PyObject *module = name != NULL ? PyImport_GetModule(name) : NULL;
    Py_XDECREF(name);
    Py_XDECREF(module);
    return module != NULL ? import_numpy(self) : PyErr_Occurred() == NULL;
}

/* What checks arguments is `inline`: several functions use it, and gcc's -O2 puts it into none of them by itself,
 * which costs a call of `run_into` 10 ns of 70. */
/* ---- memory of the arguments -------------------------------------------------------------------------- */

static char kind_of(const char *format) {
    if (format == NULL) return 'u'; /* the protocol's default: unsigned bytes */
    if (*format == '@' || *format == '=' || *format == SAME_ORDER) ++format;
    if (*format == '\0' || format[1] != '\0') return 0;
    if (strchr("bhilqn", *format)) return 'i';
    if (strchr("BHILQN", *format)) return 'u';
    if (strchr("efd", *format)) return 'f';
    return *format == '?' ? '?' : 0;
}

/* Exceptions by which a buffer is denied; NumPy's for a read-only array is a ValueError. Others, such as
 * MemoryError, go on as they are. */
static bool denied(void) {
    return PyErr_ExceptionMatches(PyExc_BufferError) || PyErr_ExceptionMatches(PyExc_TypeError) ||
           PyErr_ExceptionMatches(PyExc_ValueError);
}

static bool refuse(const Agent *self, int position, PyObject *given, const char *reason) {
    PyObject *result = PyObject_CallFunction(self->explain, "iOs", position, given, reason);
    if (result != NULL) {
        Py_DECREF(result);
        PyErr_SetString(PyExc_SystemError, "explain did not raise");
    }
    return false;
}

static bool same_shape(const Tensor *tensor, int axes, const npy_intp *shape, int64_t *batch) {
    int lead = axes - tensor->axes;
    if (lead != 0 && lead != 1) return false;
    for (int i = 0; i < tensor->axes; ++i) {
        if (shape[lead + i] != tensor->shape[i]) return false;
    }
    *batch = lead ? (int64_t)shape[0] : -1;
    return true;
}

/* Anything with the buffer protocol. The buffer is held, so that the memory stays where it is. */
static bool take_buffer(const Agent *self, int position, PyObject *given, bool written, Memory *memory) {
    const Tensor *tensor = &self->tensors[position];
    int flags = PyBUF_ND | PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (written ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(given, &memory->buffer, flags) != 0) {
        if (!denied()) return false;
        PyErr_Clear();
        return refuse(self, position, given, "layout");
    }
    memory->held = true;
    const Py_buffer *b = &memory->buffer;
    if (b->itemsize != tensor->type->bytes || kind_of(b->format) != tensor->type->kind) {
        return refuse(self, position, given, "dtype");
    }
    npy_intp shape[MOST_AXES + 1];
    if (b->ndim > MOST_AXES + 1) return refuse(self, position, given, "shape");
    for (int i = 0; i < b->ndim; ++i) shape[i] = (npy_intp)b->shape[i];
    if (!same_shape(tensor, b->ndim, shape, &memory->batch)) return refuse(self, position, given, "shape");
    /* An exporter may be mistaken about its own size. */
    int64_t samples = memory->batch < 0 ? 1 : memory->batch;
    if (b->len / tensor->bytes != samples) return refuse(self, position, given, "layout");
    memory->data = b->buf;
    if ((uintptr_t)memory->data % (size_t)tensor->type->bytes != 0) {
        return refuse(self, position, given, "alignment");
    }
    return true;
}

static inline bool take(const Agent *self, int position, PyObject *given, bool written, Memory *memory) {
    const Tensor *tensor = &self->tensors[position];
    memory->held = false;
    if (self->numpy && PyArray_CheckExact(given)) {
        PyArrayObject *array = (PyArrayObject *)given;
        int needed = NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | (written ? NPY_ARRAY_WRITEABLE : 0);
        if (PyArray_DESCR(array) == tensor->descr && PyArray_CHKFLAGS(array, needed)) {
            if (!same_shape(tensor, PyArray_NDIM(array), PyArray_DIMS(array), &memory->batch)) {
                return refuse(self, position, given, "shape");
            }
            memory->data = PyArray_DATA(array);
            return true;
        }
    }
    return take_buffer(self, position, given, written, memory);
}

static inline void drop(Memory *memories, int count) {
    for (int i = 0; i < count; ++i) {
        if (memories[i].held) PyBuffer_Release(&memories[i].buffer);
    }
}

static inline bool overlap(const Agent *self, const Memory *memories, int64_t batch, PyObject *const *given) {
    int total = self->inputs + self->outputs;
    for (int o = self->inputs; o < total; ++o) {
        const char *start = memories[o].data, *end = start + batch * self->tensors[o].bytes;
        for (int i = 0; i < o; ++i) {
            const char *other = memories[i].data;
            if (start < other + batch * self->tensors[i].bytes && other < end) {
                return !refuse(self, o, given[o], "overlap");
            }
        }
    }
    return false;
}

/* The number of samples that all memories agree on, or 0 after an exception. */
static inline int64_t common_batch(const Agent *self, const Memory *memories, int from, int to, PyObject *const *given) {
    int64_t batch = memories[0].batch;
    for (int i = from; i < to; ++i) {
        if (memories[i].batch == 0) return refuse(self, i, given[i], "empty");
        if (memories[i].batch != batch) return refuse(self, i, given[i], "batch");
    }
    return batch < 0 ? 1 : batch;
}
