/* A fingerprint of memory: polynomials over the integers modulo p = 2^61 - 1 at a secret point r.
 *
 * The bytes are 32-bit coefficients. Two different memories of n bytes have the same value of their polynomials for at
 * most n / 4 of the p points (a polynomial has no more zeros than its degree), and r is drawn for each process: so
 * they are taken for the same with a probability of at most n / 2^63. (J. L. Carter, M. N. Wegman, J. Comput. Syst.
 * Sci. 18, 143 (1979), for the idea of hashing with a random point.) It is no defence against an adversary who sees r.
 *
 * LANES polynomials take the words in turn, so that multiplications overlap. Limited API; the GIL is released.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

#define LANES 8

__extension__ typedef unsigned __int128 wide;

static const uint64_t prime = (UINT64_C(1) << 61) - 1;

/* A number below 2^124, congruent and below 2^61 + 8. */
static inline uint64_t reduced(wide x)
{
    uint64_t sum = ((uint64_t)x & prime) + (uint64_t)(x >> 61);
    return (sum & prime) + (sum >> 61);
}

static inline uint64_t step(uint64_t value, uint64_t word, uint64_t r, uint64_t square)
{
    return reduced((wide)value * square + (wide)(word & UINT32_MAX) * r + (word >> 32));
}

static void fold(const unsigned char *bytes, size_t size, uint64_t r, uint64_t lanes[LANES])
{
    const uint64_t square = reduced((wide)r * r);
    size_t i = 0;
    for (; i + 8 * LANES <= size; i += 8 * LANES) {
        for (int lane = 0; lane < LANES; lane++) {
            uint64_t word;
            memcpy(&word, bytes + i + 8 * lane, 8);
            lanes[lane] = step(lanes[lane], word, r, square);
        }
    }
    for (int lane = 0; i < size; i += 8, lane++) {
        uint64_t word = 0;
        memcpy(&word, bytes + i, size - i < 8 ? size - i : 8);
        lanes[lane] = step(lanes[lane], word, r, square);
    }
    for (int lane = 0; lane < LANES; lane++) {
        lanes[lane] %= prime;
    }
}

static PyObject *digest(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned long long address, r;
    Py_ssize_t size;
    uint64_t lanes[LANES] = {0};
    if (!PyArg_ParseTuple(args, "KnK", &address, &size, &r)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    fold((const unsigned char *)(uintptr_t)address, (size_t)size, r, lanes);
    Py_END_ALLOW_THREADS
    return PyBytes_FromStringAndSize((const char *)lanes, sizeof lanes);
}

static PyMethodDef methods[] = {
    {"digest", digest, METH_VARARGS, "Fingerprint of the memory (address, bytes) at the point r."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_digest", "Fingerprints of memory.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__digest(void) { return PyModuleDef_Init(&definition); }
