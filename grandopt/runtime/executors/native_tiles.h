/* Permission to use AMX tiles, which Linux gives to processes that ask. Part of `native_binding.c`. */
#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Asks for the whole process. False on a kernel before 5.16, in a sandbox without the call, or while a thread
 * has an alternative signal stack too small for the tiles. */
static PyObject *permit_tiles(PyObject *module, PyObject *nothing) {
    (void)module, (void)nothing;
#if defined(__linux__) && defined(__x86_64__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return PyBool_FromLong(syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0);
#else
    Py_RETURN_FALSE;
#endif
}
