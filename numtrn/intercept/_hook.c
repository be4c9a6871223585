/* Thunks in front of NumPy's loops, SciPy's Fortran BLAS and NumPy's CBLAS, what NumPy's public functions call, and
 * the gate they share.
 *
 * A thunk has the signature of the function it stands for. Outside a block it calls that function at once;
 * inside a block, and from the block's least work on, it asks Python, which computes the call or declines.
 * What a call means is not known here: Python gets the thunk's number, the multiply-adds, and the raw
 * arguments as 64-bit words.
 *
 * Limited API, no NumPy headers. What is assumed about foreign layouts is said, with its source, where it is
 * used, and is checked there or by the self-tests in layers.py.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <elf.h>
#include <fenv.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* ---- The gate: what this thread does with a call. ------------------------------------------------------ */

static _Thread_local struct {
    int open;            /* blocks of this thread; 0: every call runs the original */
    int busy;            /* inside our own callback, or inside an original that must not be asked about again */
    double min_work;     /* multiply-adds below which Python is not asked */
    long long small;     /* calls below that, inside blocks */
    double small_work;   /* their multiply-adds */
} gate;

/* What the Python callback answers; it may also have raised. */
enum { DECLINED = 0, DONE = 1, DECLINED_AND_RECORDED = 2, RAISED = 3 };

/* Who writes the result of a call that raised. NumPy's dot clears its out= before it calls CBLAS, so that only the
 * original's result can still be right there; everywhere else the output is as it was, and stays so. */
enum { LEAVE_OUTPUT, COMPLETE_OUTPUT };

/* How a call passes a thunk: made by `begin`, closed by `end`. */
struct passage {
    int answer;
    double start;
};

static PyObject *ask_callback;   /* ask(number, work, words) -> answer */
static PyObject *timed_callback; /* timed(seconds) -> None */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Ask Python. An exception stays set in the thread state, and NumPy or f2py, which look for one when the call
 * returns, raise it. */
static int ask(int number, double work, const int64_t *words, int count)
{
    fenv_t environment;
    int answer = DECLINED;
    PyGILState_STATE held = PyGILState_Ensure();
    if (PyErr_Occurred()) {
        answer = RAISED; /* by an earlier piece of the same call */
    } else if (ask_callback) {
        /* What kernels raise in the floating-point flags must not become a warning of the caller's. */
        feholdexcept(&environment);
        gate.busy = 1;
        PyObject *result = PyObject_CallFunction(ask_callback, "idy#", number, work, (const char *)words,
                                                 (Py_ssize_t)count * (Py_ssize_t)sizeof(int64_t));
        gate.busy = 0;
        fesetenv(&environment);
        if (result) {
            answer = (int)PyLong_AsLong(result);
            Py_DECREF(result);
        } else {
            answer = RAISED;
        }
    }
    PyGILState_Release(held);
    return answer;
}

/* Tell Python how long the original took that it has declined to replace. */
static void report(double seconds)
{
    PyGILState_STATE held = PyGILState_Ensure();
    if (timed_callback && !PyErr_Occurred()) {
        fenv_t environment;
        feholdexcept(&environment);
        gate.busy = 1;
        PyObject *result = PyObject_CallFunction(timed_callback, "d", seconds);
        gate.busy = 0;
        fesetenv(&environment);
        Py_XDECREF(result);
    }
    PyGILState_Release(held);
}

/* Only for threads that are inside a block. After it the thunk calls the original where `runs_original` says so,
 * and then `end`. The thread is busy meanwhile: the matmul loop goes on to call CBLAS, which must neither ask
 * nor count a second time. */
static struct passage begin(int number, double work, const int64_t *words, int count)
{
    struct passage passage = {DECLINED, 0.0};
    if (!(work >= gate.min_work && work > 0)) {
        gate.small++;
        gate.small_work += work;
    } else {
        passage.answer = ask(number, work, words, count);
        if (passage.answer == DECLINED_AND_RECORDED)
            passage.start = now();
    }
    gate.busy = 1;
    return passage;
}

static int runs_original(struct passage passage, int raised)
{
    return passage.answer == RAISED ? raised == COMPLETE_OUTPUT : passage.answer != DONE;
}

static void end(struct passage passage)
{
    gate.busy = 0;
    if (passage.answer == DECLINED_AND_RECORDED)
        report(now() - passage.start);
}

/* The body of every thunk: PASS calls the original. */
#define GUARD(number, work, raised, PASS, ...)                                                                     \
    do {                                                                                                    \
        if (UNLIKELY(gate.open && !gate.busy)) {                                                            \
            const int64_t words[] = {__VA_ARGS__};                                                          \
            struct passage passage = begin(number, work, words, COUNT(words));                              \
            if (runs_original(passage, raised)) {                                                           \
                PASS;                                                                                       \
            }                                                                                               \
            end(passage);                                                                                   \
        } else {                                                                                            \
            PASS;                                                                                           \
        }                                                                                                   \
    } while (0)

/* ---- The list of thunks. ------------------------------------------------------------------------------- */

/* Loops of matmul, by NumPy's type character. */
#define MATMUL(T)                                                                                           \
    T(matmul_f) T(matmul_d) T(matmul_F) T(matmul_D) T(matmul_e) T(matmul_g) T(matmul_G)                     \
    T(matmul_b) T(matmul_B) T(matmul_h) T(matmul_H) T(matmul_i) T(matmul_I)                                 \
    T(matmul_l) T(matmul_L) T(matmul_q) T(matmul_Q)

/* Loops of matvec, vecmat and vecdot. */
#define VECTORS(T)                                                                                          \
    T(matvec_f) T(matvec_d) T(matvec_F) T(matvec_D) T(vecmat_f) T(vecmat_d) T(vecmat_F) T(vecmat_D)
#define DOTS(T) T(vecdot_f) T(vecdot_d) T(vecdot_F) T(vecdot_D)

/* T(name, integer, scalar, address of a scalar): real alpha and beta come by value, complex by address. */
#define CBLAS(T, op)                                                                                        \
    T(cblas_s##op##_32, int32_t, float, &) T(cblas_s##op##_64, int64_t, float, &)                           \
    T(cblas_d##op##_32, int32_t, double, &) T(cblas_d##op##_64, int64_t, double, &)                         \
    T(cblas_c##op##_32, int32_t, const void *, ) T(cblas_c##op##_64, int64_t, const void *, )               \
    T(cblas_z##op##_32, int32_t, const void *, ) T(cblas_z##op##_64, int64_t, const void *, )

/* T(name, number of arguments, function that counts the multiply-adds). */
#define REAL(T, op, arity, work) T(fortran_s##op, arity, work) T(fortran_d##op, arity, work)
#define COMPLEX(T, op, arity, work) T(fortran_c##op, arity, work) T(fortran_z##op, arity, work)
#define BOTH(T, op, arity, work) REAL(T, op, arity, work) COMPLEX(T, op, arity, work)
#define FORTRAN(T)                                                                                          \
    BOTH(T, gemm, 13, work_gemm) BOTH(T, syrk, 10, work_syrk) COMPLEX(T, herk, 10, work_syrk)               \
    BOTH(T, symm, 12, work_symm) COMPLEX(T, hemm, 12, work_symm)                                            \
    BOTH(T, syr2k, 12, work_syr2k) COMPLEX(T, her2k, 12, work_syr2k)                                        \
    BOTH(T, trmm, 11, work_trmm) BOTH(T, trsm, 11, work_trmm)                                               \
    BOTH(T, trtrs, 10, work_trtrs) BOTH(T, potrs, 8, work_potrs) BOTH(T, getrs, 9, work_getrs)              \
    BOTH(T, potrf, 5, work_potrf)

#define NUMBER(name, ...) N_##name,
enum { MATMUL(NUMBER) VECTORS(NUMBER) DOTS(NUMBER) CBLAS(NUMBER, gemm) CBLAS(NUMBER, syrk) FORTRAN(NUMBER) THUNKS };

static void *originals[THUNKS];

/* ---- L1: inner loops of the matmul ufunc. -------------------------------------------------------------- */

/* PyUFuncGenericFunction (numpy/ufuncobject.h). For (m,k),(k,n)->(m,n): dimensions are batch, m, k, n; steps are
 * those of the batch for A, B and C, then rows and columns of A, of B, and of C. */
typedef void (*loop_t)(char **, const intptr_t *, const intptr_t *, void *);

#define MATMUL_THUNK(name)                                                                                  \
    static void name(char **args, const intptr_t *dims, const intptr_t *steps, void *data)                  \
    {                                                                                                       \
        GUARD(N_##name, (double)dims[0] * dims[1] * dims[2] * dims[3], LEAVE_OUTPUT,                        \
              ((loop_t)originals[N_##name])(args, dims, steps, data),                                       \
              (intptr_t)args[0], (intptr_t)args[1], (intptr_t)args[2], dims[0], dims[1], dims[2], dims[3],  \
              steps[0], steps[1], steps[2], steps[3], steps[4], steps[5], steps[6], steps[7], steps[8]);    \
    }
MATMUL(MATMUL_THUNK)

/* matvec (m,n),(n)->(m) and vecmat (n),(n,m)->(m): dimensions are batch and the two of the signature, in its order;
 * steps those of the batch for the three arguments, then each argument's own, of which there are four. */
#define VECTOR_THUNK(name)                                                                                  \
    static void name(char **args, const intptr_t *dims, const intptr_t *steps, void *data)                  \
    {                                                                                                       \
        GUARD(N_##name, (double)dims[0] * dims[1] * dims[2], LEAVE_OUTPUT,                                  \
              ((loop_t)originals[N_##name])(args, dims, steps, data),                                       \
              (intptr_t)args[0], (intptr_t)args[1], (intptr_t)args[2], dims[0], dims[1], dims[2],           \
              steps[0], steps[1], steps[2], steps[3], steps[4], steps[5], steps[6]);                        \
    }
VECTORS(VECTOR_THUNK)

/* vecdot (n),(n)->(): dimensions are batch and n. */
#define DOT_THUNK(name)                                                                                     \
    static void name(char **args, const intptr_t *dims, const intptr_t *steps, void *data)                  \
    {                                                                                                       \
        GUARD(N_##name, (double)dims[0] * dims[1], LEAVE_OUTPUT,                                            \
              ((loop_t)originals[N_##name])(args, dims, steps, data), dims[0], dims[1]);                    \
    }
DOTS(DOT_THUNK)

/* ---- L3: CBLAS, called by NumPy's dot, inner and tensordot. -------------------------------------------- */

#define GEMM_THUNK(name, integer, scalar, address)                                                          \
    static void name(int order, int trans_a, int trans_b, integer m, integer n, integer k, scalar alpha,    \
                     const void *a, integer lda, const void *b, integer ldb, scalar beta, void *c,          \
                     integer ldc)                                                                           \
    {                                                                                                       \
        typedef void (*gemm_t)(int, int, int, integer, integer, integer, scalar, const void *, integer,     \
                               const void *, integer, scalar, void *, integer);                             \
        GUARD(N_##name, (double)m * (double)n * (double)k, COMPLETE_OUTPUT,                                 \
              ((gemm_t)originals[N_##name])(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta,  \
                                            c, ldc),                                                        \
              order, trans_a, trans_b, m, n, k, (intptr_t)address alpha, (intptr_t)a, lda, (intptr_t)b,     \
              ldb, (intptr_t)address beta, (intptr_t)c, ldc);                                               \
    }
CBLAS(GEMM_THUNK, gemm)

#define SYRK_THUNK(name, integer, scalar, address)                                                          \
    static void name(int order, int uplo, int trans, integer n, integer k, scalar alpha, const void *a,     \
                     integer lda, scalar beta, void *c, integer ldc)                                        \
    {                                                                                                       \
        typedef void (*syrk_t)(int, int, int, integer, integer, scalar, const void *, integer, scalar,      \
                               void *, integer);                                                            \
        GUARD(N_##name, 0.5 * (double)n * ((double)n + 1) * (double)k, COMPLETE_OUTPUT,                     \
              ((syrk_t)originals[N_##name])(order, uplo, trans, n, k, alpha, a, lda, beta, c, ldc),         \
              order, uplo, trans, n, k, (intptr_t)address alpha, (intptr_t)a, lda, (intptr_t)address beta,  \
              (intptr_t)c, ldc);                                                                            \
    }
CBLAS(SYRK_THUNK, syrk)

/* ---- L2: Fortran BLAS and LAPACK behind SciPy's f2py objects. ------------------------------------------ */

/* Every argument is an address. Integers are 32 bits (LP64): `fblas.py` leaves a SciPy of 64 bits alone. f2py's
 * wrappers in SciPy pass no hidden string lengths. Argument positions are those of the reference BLAS. */
static double integer_at(const void *address) { return *(const int32_t *)address; }
static int is_left(const void *side) { return *(const char *)side == 'L' || *(const char *)side == 'l'; }
static double triangle(double n) { return 0.5 * n * (n + 1); }

/* (transa, transb, m, n, k, ...) */
static double work_gemm(void *const *a) { return integer_at(a[2]) * integer_at(a[3]) * integer_at(a[4]); }
/* (uplo, trans, n, k, ...) */
static double work_syrk(void *const *a) { return triangle(integer_at(a[2])) * integer_at(a[3]); }
static double work_syr2k(void *const *a) { return 2 * work_syrk(a); }
/* (side, uplo, m, n, ...) */
static double work_symm(void *const *a)
{
    double m = integer_at(a[2]), n = integer_at(a[3]);
    return m * n * (is_left(a[0]) ? m : n);
}
/* (side, uplo, transa, diag, m, n, ...) */
static double work_trmm(void *const *a)
{
    double m = integer_at(a[4]), n = integer_at(a[5]);
    return is_left(a[0]) ? triangle(m) * n : triangle(n) * m;
}
/* (uplo, trans, diag, n, nrhs, ...) */
static double work_trtrs(void *const *a) { return triangle(integer_at(a[3])) * integer_at(a[4]); }
/* (uplo, n, nrhs, ...) and (trans, n, nrhs, ...) */
static double work_potrs(void *const *a) { return 2 * triangle(integer_at(a[1])) * integer_at(a[2]); }
static double work_getrs(void *const *a) { return work_potrs(a); }
/* (uplo, n, a, lda, info) */
static double work_potrf(void *const *a)
{
    double n = integer_at(a[1]);
    return (double)(int64_t)(n * n * n / 6); /* whole, so that sums of small calls stay exact */
}

#define ARGUMENTS_5 a0, a1, a2, a3, a4
#define ARGUMENTS_8 ARGUMENTS_5, a5, a6, a7
#define ARGUMENTS_9 ARGUMENTS_8, a8
#define ARGUMENTS_10 ARGUMENTS_9, a9
#define ARGUMENTS_11 ARGUMENTS_10, a10
#define ARGUMENTS_12 ARGUMENTS_11, a11
#define ARGUMENTS_13 ARGUMENTS_12, a12
#define PARAMETERS_5 void *a0, void *a1, void *a2, void *a3, void *a4
#define PARAMETERS_8 PARAMETERS_5, void *a5, void *a6, void *a7
#define PARAMETERS_9 PARAMETERS_8, void *a8
#define PARAMETERS_10 PARAMETERS_9, void *a9
#define PARAMETERS_11 PARAMETERS_10, void *a10
#define PARAMETERS_12 PARAMETERS_11, void *a11
#define PARAMETERS_13 PARAMETERS_12, void *a12

#define FORTRAN_THUNK(name, arity, work)                                                                    \
    static void name(PARAMETERS_##arity)                                                                    \
    {                                                                                                       \
        typedef void (*routine_t)(PARAMETERS_##arity);                                                      \
        if (UNLIKELY(gate.open && !gate.busy)) {                                                            \
            void *const arguments[] = {ARGUMENTS_##arity};                                                  \
            int64_t words[arity];                                                                           \
            for (int i = 0; i < arity; i++)                                                                 \
                words[i] = (intptr_t)arguments[i];                                                          \
            struct passage passage = begin(N_##name, work(arguments), words, arity);                        \
            if (runs_original(passage, LEAVE_OUTPUT)) {                                                     \
                ((routine_t)originals[N_##name])(ARGUMENTS_##arity);                                        \
            }                                                                                               \
            end(passage);                                                                                   \
            return;                                                                                         \
        }                                                                                                   \
        ((routine_t)originals[N_##name])(ARGUMENTS_##arity);                                                \
    }
FORTRAN(FORTRAN_THUNK)

#define NAME(name, ...) #name,
static const char *const names[THUNKS] = {
    MATMUL(NAME) VECTORS(NAME) DOTS(NAME) CBLAS(NAME, gemm) CBLAS(NAME, syrk) FORTRAN(NAME)};
#define ADDRESS(name, ...) (void *)name,
static void *const addresses[THUNKS] = {
    MATMUL(ADDRESS) VECTORS(ADDRESS) DOTS(ADDRESS) CBLAS(ADDRESS, gemm) CBLAS(ADDRESS, syrk) FORTRAN(ADDRESS)};

static int number_given(PyObject *name)
{
    PyObject *bytes = PyUnicode_AsUTF8String(name);
    if (!bytes)
        return -1;
    const char *text = PyBytes_AsString(bytes);
    int number = THUNKS - 1;
    while (number >= 0 && strcmp(names[number], text))
        number--;
    Py_DECREF(bytes);
    if (number < 0)
        PyErr_Format(PyExc_ValueError, "no thunk is called %R", name);
    return number;
}

/* ---- Putting thunks in place. -------------------------------------------------------------------------- */

static PyObject *replace_loop(PyObject *Py_UNUSED(module), PyObject *args)
{
    /* Slot 30 of the _UFUNC_API table: PyUFunc_ReplaceLoopBySignature (numpy/__ufunc_api.h). */
    typedef int (*replace_t)(PyObject *, loop_t, const int *, loop_t *);
    PyObject *capsule, *ufunc, *name;
    int type, restore;
    if (!PyArg_ParseTuple(args, "OOiUp", &capsule, &ufunc, &type, &name, &restore))
        return NULL;
    void **api = PyCapsule_GetPointer(capsule, NULL);
    int number = number_given(name);
    if (!api || number < 0)
        return NULL;
    const int signature[3] = {type, type, type};
    loop_t thunk = (loop_t)addresses[number], ours = thunk;
    static char placed[THUNKS];
    if (placed[number] == !restore)
        Py_RETURN_NONE;
    /* NumPy stores the old loop before it sets the new one, so that the thunk never lacks its original. */
    int missing = restore ? ((replace_t)api[30])(ufunc, (loop_t)originals[number], signature, &ours)
                          : ((replace_t)api[30])(ufunc, thunk, signature, (loop_t *)&originals[number]);
    if (missing) {
        PyErr_Format(PyExc_RuntimeError, "the ufunc has no loop of type number %d", type);
        return NULL;
    }
    placed[number] = !restore;
    Py_RETURN_NONE;
}

/* FortranDataDef and PyFortranObject (numpy/f2py/src/fortranobject.h), the same since NumPy 1.0. */
struct fortran_definition {
    char *name;
    int rank; /* -1: a routine */
    struct {
        intptr_t d[40];
    } dims;
    int type;
    void *data; /* address of the routine */
    void *function;
    char *doc;
};
struct fortran_object {
    PyObject head;
    int length;
    struct fortran_definition *definitions;
    PyObject *dictionary;
};

static PyObject *replace_fortran(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *routine, *name;
    int restore;
    if (!PyArg_ParseTuple(args, "OUp", &routine, &name, &restore))
        return NULL;
    int number = number_given(name);
    if (number < 0)
        return NULL;
    /* f2py made this capsule from `data` when the module was imported: equal addresses confirm the layout. */
    PyObject *capsule = PyObject_GetAttrString(routine, "_cpointer");
    if (!capsule)
        return NULL;
    void *address = PyCapsule_GetPointer(capsule, NULL);
    Py_DECREF(capsule);
    if (!address)
        return NULL;
    struct fortran_object *object = (struct fortran_object *)routine;
    struct fortran_definition *definition = object->definitions;
    if (object->length != 1 || definition->rank != -1 ||
        (definition->data != address && definition->data != addresses[number])) {
        PyErr_Format(PyExc_RuntimeError, "the f2py object behind %R has an unknown layout", name);
        return NULL;
    }
    originals[number] = address;
    definition->data = restore ? address : addresses[number];
    Py_RETURN_NONE;
}

/* ---- ELF import slots. --------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define IS_IMPORT(type) ((type) == R_X86_64_JUMP_SLOT || (type) == R_X86_64_GLOB_DAT || (type) == R_X86_64_64)
#elif defined(__aarch64__)
#define IS_IMPORT(type) \
    ((type) == R_AARCH64_JUMP_SLOT || (type) == R_AARCH64_GLOB_DAT || (type) == R_AARCH64_ABS64)
#else
#error "import slots are known for x86-64 and aarch64 only"
#endif

/* A loaded shared object, found by an address inside it. */
struct object {
    uintptr_t inside, base;
    const ElfW(Phdr) *segments;
    int count;
    const char *path;
    int found;
};

static int holds(const struct object *object, uintptr_t address)
{
    for (int i = 0; i < object->count; i++) {
        const ElfW(Phdr) *segment = &object->segments[i];
        uintptr_t start = object->base + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && start <= address && address < start + segment->p_memsz)
            return 1;
    }
    return 0;
}

static int look_at(struct dl_phdr_info *info, size_t Py_UNUSED(size), void *data)
{
    struct object *object = data;
    object->base = info->dlpi_addr;
    object->segments = info->dlpi_phdr;
    object->count = info->dlpi_phnum;
    object->path = info->dlpi_name;
    return object->found = holds(object, object->inside);
}

/* Present protection of a page, from the kernel: RELRO has made some of what the file calls writable read-only. */
static int protection_of(uintptr_t address)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    if (!maps)
        return -1;
    char line[512];
    int protection = -1, whole = 1;
    while (protection < 0 && fgets(line, sizeof line, maps)) {
        unsigned long start, stop;
        char bits[5];
        if (whole && sscanf(line, "%lx-%lx %4s", &start, &stop, bits) == 3 && start <= address && address < stop)
            protection = (bits[0] == 'r' ? PROT_READ : 0) | (bits[1] == 'w' ? PROT_WRITE : 0) |
                         (bits[2] == 'x' ? PROT_EXEC : 0);
        whole = strchr(line, '\n') != NULL;
    }
    fclose(maps);
    return protection;
}

/* Write one slot; its page is made writable for the moment where it is not. */
static int write_slot(void **slot, void *value)
{
    uintptr_t size = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *page = (void *)((uintptr_t)slot & ~(size - 1));
    int protection = protection_of((uintptr_t)slot);
    if (protection < 0)
        return -1;
    int locked = !(protection & PROT_WRITE);
    if (locked && mprotect(page, size, protection | PROT_WRITE))
        return -1;
    atomic_store((_Atomic(void *) *)slot, value);
    if (locked)
        mprotect(page, size, protection);
    return 0;
}

static uintptr_t dynamic_value(const struct object *object, int64_t tag)
{
    for (int i = 0; i < object->count; i++) {
        if (object->segments[i].p_type != PT_DYNAMIC)
            continue;
        const ElfW(Dyn) *entry = (const void *)(object->base + object->segments[i].p_vaddr);
        for (; entry->d_tag != DT_NULL; entry++)
            if (entry->d_tag == tag)
                return entry->d_un.d_val;
    }
    return 0;
}

/* glibc has relocated the addresses in a loaded dynamic section; other loaders leave them as in the file. */
static uintptr_t dynamic_address(const struct object *object, int64_t tag)
{
    uintptr_t value = dynamic_value(object, tag);
    return value && value < object->base ? object->base + value : value;
}

/* Point the imports of `symbol` in one relocation table at the thunk, or back; returns how many there are, or -1. */
static int patch_table(const struct object *object, int64_t table, int64_t size, const char *symbol,
                       void *real, int number, int restore)
{
    const ElfW(Rela) *entries = (const void *)dynamic_address(object, table);
    const ElfW(Sym) *symbols = (const void *)dynamic_address(object, DT_SYMTAB);
    const char *strings = (const void *)dynamic_address(object, DT_STRTAB);
    size_t count = dynamic_value(object, size) / sizeof *entries;
    int patched = 0;
    if (!entries || !symbols || !strings)
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (!IS_IMPORT(ELF64_R_TYPE(entries[i].r_info)))
            continue;
        if (strcmp(strings + symbols[ELF64_R_SYM(entries[i].r_info)].st_name, symbol))
            continue;
        void **slot = (void **)(object->base + entries[i].r_offset);
        void *present = *slot;
        patched++;
        if ((present == addresses[number]) == !restore)
            continue;
        if (!restore) {
            /* A slot that is not bound yet leads back into its own object, and binding it would overwrite
             * ours: the original comes from dlsym. Anything else is kept: somebody may have put it there. */
            originals[number] = holds(object, (uintptr_t)present) ? real : present;
        }
        if (write_slot(slot, restore ? originals[number] : addresses[number]))
            return -1;
    }
    return patched;
}

static PyObject *replace_import(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *capsule, *name;
    const char *symbol;
    int restore;
    if (!PyArg_ParseTuple(args, "OsUp", &capsule, &symbol, &name, &restore))
        return NULL;
    int number = number_given(name);
    void *inside = PyCapsule_GetPointer(capsule, NULL);
    if (number < 0 || !inside)
        return NULL;
    struct object object = {.inside = (uintptr_t)inside};
    dl_iterate_phdr(look_at, &object);
    if (!object.found)
        return PyLong_FromLong(0);
    void *handle = dlopen(object.path, RTLD_LAZY | RTLD_NOLOAD);
    void *real = handle ? dlsym(handle, symbol) : NULL;
    int plt = 0, data = 0;
    if (real) {
        plt = patch_table(&object, DT_JMPREL, DT_PLTRELSZ, symbol, real, number, restore);
        data = patch_table(&object, DT_RELA, DT_RELASZ, symbol, real, number, restore);
    }
    if (handle)
        dlclose(handle);
    if (plt < 0 || data < 0) {
        PyErr_Format(PyExc_RuntimeError, "the import slot of %s could not be made writable", symbol);
        return NULL;
    }
    return PyLong_FromLong(plt + data);
}

/* ---- L5: the implementations behind NumPy's public functions. ------------------------------------------ */

/* A public function such as np.dot is a dispatcher object, which holds what computes for plain arrays. While a
 * thread has a block open, ours is held there, and NumPy's own otherwise. All of this is done under the GIL. */
static struct dispatcher {
    PyObject *function, *original, *ours;
    PyObject **slot;
} dispatchers[16];
static int dispatcher_count;
static int open_threads; /* that have a block open */

/* Both callables are kept alive by the table: a call that is under way holds no reference of its own. */
static void place(const struct dispatcher *dispatcher, int ours)
{
    PyObject *present = *dispatcher->slot;
    PyObject *wanted = ours ? dispatcher->ours : dispatcher->original;
    if (present != (ours ? dispatcher->original : dispatcher->ours))
        return; /* it is there already, or somebody else has put something of theirs */
    Py_INCREF(wanted);
    *dispatcher->slot = wanted;
    Py_DECREF(present);
}

static void count_threads(int change)
{
    int before = open_threads > 0;
    open_threads += change;
    if (before != (open_threads > 0))
        for (int i = 0; i < dispatcher_count; i++)
            place(&dispatchers[i], open_threads > 0);
}

/* The slot is found by what it holds: the one word of the object that is the address of its implementation. */
static PyObject **slot_of(PyObject *function, Py_ssize_t size, PyObject *implementation)
{
    PyObject **slot = NULL;
    for (size_t at = sizeof(PyObject); at + sizeof slot <= (size_t)size; at += sizeof slot) {
        PyObject **word = (PyObject **)((char *)function + at);
        if (*word != implementation)
            continue;
        if (slot)
            return NULL;
        slot = word;
    }
    return slot;
}

static PyObject *add_dispatcher(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *function, *original, *ours;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "OnOO", &function, &size, &original, &ours))
        return NULL;
    PyObject **slot = slot_of(function, size, original);
    if (!slot || dispatcher_count == COUNT(dispatchers)) {
        PyErr_Format(PyExc_RuntimeError, "%R does not hold its implementation as expected", function);
        return NULL;
    }
    Py_INCREF(function);
    Py_INCREF(original);
    Py_INCREF(ours);
    struct dispatcher *dispatcher = &dispatchers[dispatcher_count++];
    *dispatcher = (struct dispatcher){function, original, ours, slot};
    place(dispatcher, open_threads > 0);
    Py_RETURN_NONE;
}

/* The references of the table stay: a thread may be inside one of them. */
static PyObject *remove_dispatchers(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    for (int i = 0; i < dispatcher_count; i++)
        place(&dispatchers[i], 0);
    dispatcher_count = 0;
    Py_RETURN_NONE;
}

/* ---- The gate, from Python. ---------------------------------------------------------------------------- */

static PyObject *set_callbacks(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *ask_given, *timed_given;
    if (!PyArg_ParseTuple(args, "OO", &ask_given, &timed_given))
        return NULL;
    PyObject *old_ask = ask_callback, *old_timed = timed_callback;
    Py_INCREF(ask_given);
    Py_INCREF(timed_given);
    ask_callback = ask_given;
    timed_callback = timed_given;
    Py_XDECREF(old_ask);
    Py_XDECREF(old_timed);
    Py_RETURN_NONE;
}

static PyObject *set_open(PyObject *Py_UNUSED(module), PyObject *args)
{
    int open;
    double min_work;
    if (!PyArg_ParseTuple(args, "id", &open, &min_work))
        return NULL;
    count_threads((open > 0) - (gate.open > 0));
    gate.open = open;
    gate.min_work = min_work;
    Py_RETURN_NONE;
}

/* In the child of a fork the thread that made it is the only one. */
static PyObject *forked(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    count_threads((gate.open > 0) - open_threads);
    Py_RETURN_NONE;
}

/* In one C function, because an interrupt between two lines of Python could leave the mark behind. */
static PyObject *call_busy(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *function, *first, *second;
    if (!PyArg_ParseTuple(args, "OOO", &function, &first, &second))
        return NULL;
    int old = gate.busy;
    gate.busy = 1;
    PyObject *result = PyObject_CallFunctionObjArgs(function, first, second, NULL);
    gate.busy = old;
    return result;
}

static PyObject *is_asking(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    return PyBool_FromLong(gate.open && !gate.busy);
}

static PyObject *count_small(PyObject *Py_UNUSED(module), PyObject *work)
{
    double value = PyFloat_AsDouble(work);
    if (value == -1 && PyErr_Occurred())
        return NULL;
    gate.small++;
    gate.small_work += value;
    Py_RETURN_NONE;
}

static PyObject *small(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    return Py_BuildValue("(Ld)", gate.small, gate.small_work);
}

static PyObject *thunks(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    PyObject *list = PyList_New(THUNKS);
    for (int i = 0; list && i < THUNKS; i++)
        if (PyList_SetItem(list, i, PyUnicode_FromString(names[i])))
            Py_CLEAR(list);
    return list;
}

static PyMethodDef methods[] = {
    {"thunks", thunks, METH_NOARGS, "Names of the thunks; the position of a name is its number."},
    {"replace_loop", replace_loop, METH_VARARGS, "Put a thunk in place of a ufunc's loop, or take it away."},
    {"replace_fortran", replace_fortran, METH_VARARGS, "The same for the routine behind an f2py object."},
    {"replace_import", replace_import, METH_VARARGS, "The same for imports of a symbol; gives how many."},
    {"add_dispatcher", add_dispatcher, METH_VARARGS, "Hold ours in a public function while a block is open."},
    {"remove_dispatchers", remove_dispatchers, METH_NOARGS, "Give all public functions their own for good."},
    {"set_callbacks", set_callbacks, METH_VARARGS, "Set what is asked, and what is told times."},
    {"set_open", set_open, METH_VARARGS, "Open blocks of this thread and their least work."},
    {"forked", forked, METH_NOARGS, "Forget the threads that a fork has left behind."},
    {"call_busy", call_busy, METH_VARARGS, "Call a function of two arguments with this thread marked busy."},
    {"is_asking", is_asking, METH_NOARGS, "Whether this thread is in a block and not busy."},
    {"count_small", count_small, METH_O, "Count a call of so many multiply-adds as small."},
    {"small", small, METH_NOARGS, "Small calls of this thread, and their multiply-adds."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_hook", "Thunks in front of BLAS, and the gate they share.", -1, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__hook(void) { return PyModule_Create(&definition); }
