/* The shared object of an agent, and what it states of itself. Part of `native_binding.c`, which alone includes
 * it.
 */
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

/* The text under a name in the agent's shared object, or None. */
static PyObject *agent_stated(PyObject *object, PyObject *name) {
    PyObject *bytes = PyUnicode_AsUTF8String(name);
    if (bytes == NULL) return NULL;
    const char *text = dlsym(((Agent *)object)->library, PyBytes_AsString(bytes));
    Py_DECREF(bytes);
    return text != NULL ? PyUnicode_FromString(text) : Py_NewRef(Py_None);
}
