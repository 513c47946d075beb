/* Policy: the base type of an executor that is called without a Python frame. Part of `native_binding.c`, which alone
 * includes it.
 *
 * Arrays that fit as they are go to the agent. Everything else (keywords, mappings, lists, tensors, other dtypes and
 * layouts, what does not fit at all) goes with the very arguments to a function of Python, which converts or refuses.
 * A subclass written in Python has the fast protocol of calls from Python 3.12 on, and a tuple of arguments before.
 */
typedef struct {
    PyObject_HEAD
    vectorcall call;  /* NULL until there is an agent: Python takes `policy_call` then */
    Agent *agent;     /* never changes once it is there: calls without the GIL rely on it */
    PyObject *python; /* python(policy, *args, **keywords) */
} Policy;

static PyObject *call_python(Policy *self, PyObject *args, PyObject *keywords) {
    PyObject *own = PyTuple_Pack(1, (PyObject *)self), *all = own != NULL ? PySequence_Concat(own, args) : NULL;
    PyObject *result = all != NULL ? PyObject_Call(self->python, all, keywords) : NULL;
    Py_XDECREF(own);
    Py_XDECREF(all);
    return result;
}

static PyObject *policy_call(PyObject *object, PyObject *args, PyObject *keywords) {
    Policy *self = (Policy *)object;
    if (self->agent == NULL) {
        PyErr_SetString(PyExc_TypeError, "this policy has no agent yet");
        return NULL;
    }
    Py_ssize_t count = PyTuple_Size(args);
    if (count == self->agent->inputs && (keywords == NULL || PyDict_Size(keywords) == 0)) {
        PyObject *given[MOST_TENSORS]; /* the tuple's references, which the caller holds */
        bool taken;
        for (Py_ssize_t i = 0; i < count; ++i) given[i] = PyTuple_GetItem(args, i);
        PyObject *result = act(self->agent, given, count, &taken);
        if (taken) return result;
    }
    return call_python(self, args, keywords);
}

static PyObject *policy_vectorcall(PyObject *object, PyObject *const *args, size_t flagged, PyObject *names) {
    Policy *self = (Policy *)object;
    Py_ssize_t count = argument_count(flagged), named = names != NULL ? PyTuple_Size(names) : 0;
    if (named == 0) {
        bool taken;
        PyObject *result = act(self->agent, args, count, &taken);
        if (taken) return result;
    }
    PyObject *positional = PyTuple_New(count), *keywords = named > 0 ? PyDict_New() : NULL, *result = NULL;
    bool packed = positional != NULL && (named == 0 || keywords != NULL);
    for (Py_ssize_t i = 0; packed && i < count; ++i) PyTuple_SetItem(positional, i, Py_NewRef(args[i]));
    for (Py_ssize_t i = 0; packed && i < named; ++i) {
        packed = PyDict_SetItem(keywords, PyTuple_GetItem(names, i), args[count + i]) == 0;
    }
    if (packed) result = call_python(self, positional, keywords);
    Py_XDECREF(positional);
    Py_XDECREF(keywords);
    return result;
}

/* Once: a call under way needs its agent to stay. */
static PyObject *policy_attach(PyObject *object, PyObject *args) {
    Policy *self = (Policy *)object;
    PyObject *agent, *python;
    if (!PyArg_ParseTuple(args, "O!O", agent_type, &agent, &python)) return NULL;
    if (self->agent != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this policy has its agent already");
        return NULL;
    }
    self->python = Py_NewRef(python), self->agent = (Agent *)Py_NewRef(agent);
    self->call = policy_vectorcall;
    Py_RETURN_NONE;
}

static void policy_dealloc(PyObject *object) {
    Policy *self = (Policy *)object;
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF((PyObject *)self->agent);
    Py_XDECREF(self->python);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyMethodDef policy_methods[] = {
    {"attach", policy_attach, METH_VARARGS, "attach(agent, python): who answers, and who takes what does not fit"},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef policy_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Policy, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot policy_slots[] = {
    {Py_tp_call, policy_call},
    {Py_tp_dealloc, policy_dealloc},
    {Py_tp_methods, policy_methods},
    {Py_tp_members, policy_members},
    {Py_tp_doc, "The base type of an executor whose calls are those of an Agent"},
    {0, NULL},
};

static PyType_Spec policy_spec = {
    .name = "grandopt_native_binding.Policy",
    .basicsize = sizeof(Policy),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE | HAS_VECTORCALL,
    .slots = policy_slots,
};
