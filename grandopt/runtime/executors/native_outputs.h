/* The arrays that a call gives back. Part of `native_binding.c`, which alone includes it.
 *
 * Making a small array takes longer than a small agent. So an agent keeps the last few that it gave out, and gives
 * one out again when nobody else holds it: when the only reference left, to it or to a view of it, is the agent's,
 * no weak reference asks for it, and nothing of it was changed. All of this happens under the GIL, and nobody can
 * come by an array without a reference to it, so that what is held can never be reused; a call that another thread
 * makes meanwhile sees the reference of this one.
 */
static void let_go(PyObject **held, int count) {
    for (int i = 0; i < count; ++i) Py_DECREF(held[i]);
}

/* Whether an array that was given out can pass for a new one of `axes` axes. Where a later Python keeps flags beside
 * the count of references, the count only seems greater, and a new array is made. */
static bool as_new(const Kept *kept, const Tensor *tensor, int axes, const npy_intp *shape) {
    PyArrayObject *array = (PyArrayObject *)kept->array;
    if (array == NULL || Py_REFCNT(kept->array) != 1) return false;
    if (PyArray_DESCR(array) != tensor->descr || PyArray_FLAGS(array) != kept->flags) return false;
    if (PyArray_BASE(array) != NULL || ((PyArrayObject_fields *)array)->weakreflist != NULL) return false;
    if (PyArray_NDIM(array) != axes) return false;
    npy_intp stride = tensor->type->bytes;
    for (int i = axes - 1; i >= 0; --i) {
        if (PyArray_DIMS(array)[i] != shape[i] || PyArray_STRIDES(array)[i] != stride) return false;
        stride *= shape[i];
    }
    return true;
}

static PyObject *make_output(Kept *kept, const Tensor *tensor, int axes, const npy_intp *shape, bool small) {
    if (small && as_new(kept, tensor, axes, shape)) return Py_NewRef(kept->array);
    Py_INCREF((PyObject *)tensor->descr);
    PyObject *array = PyArray_NewFromDescr(&PyArray_Type, tensor->descr, axes, shape, NULL, NULL, 0, NULL);
    if (array == NULL || !small) return array;
    PyObject *before = kept->array;
    kept->array = Py_NewRef(array), kept->flags = PyArray_FLAGS((PyArrayObject *)array);
    Py_XDECREF(before);
    return array;
}

/* Output arrays, [batch, ...] or, for batch -1, without that axis. */
static bool make_outputs(Agent *self, int64_t batch, PyObject **arrays, Memory *memories) {
    int lead = batch > 0, turn = self->turn;
    self->turn = (turn + 1) % KEPT_OUTPUTS;
    for (int i = 0; i < self->outputs; ++i) {
        const Tensor *tensor = &self->tensors[self->inputs + i];
        npy_intp shape[MOST_AXES + 1];
        shape[0] = (npy_intp)batch;
        for (int axis = 0; axis < tensor->axes; ++axis) shape[lead + axis] = tensor->shape[axis];
        bool small = tensor->bytes <= KEPT_BYTES / (lead ? batch : 1);
        Kept *kept = &self->kept[i * KEPT_OUTPUTS + turn];
        arrays[i] = make_output(kept, tensor, lead + tensor->axes, shape, small);
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
