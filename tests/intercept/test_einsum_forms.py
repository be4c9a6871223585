"""Every form of einsum's arguments gives inside a block what it gives outside.

Where NumPy computes, to the last bit; where a kernel does, within the bounds of both. Type, dtype, memory
layout, identity of ``out`` and errors are the same in either case, whoever computes.
"""

from types import SimpleNamespace

import numpy as np
import pytest

import numtrn

DTYPES = ("float64", "float32")
PATH = ["einsum_path", (1, 2), (0, 1)]


def arrays(dtype):
    """Fresh operands, the same each time."""
    rng = np.random.default_rng(5)

    def normal(*shape):
        return np.asarray(rng.standard_normal(shape)).astype(dtype)

    return SimpleNamespace(
        dtype=np.dtype(dtype),
        other=np.dtype({"float64": "float32", "float32": "float64"}.get(dtype, dtype)),
        a=normal(4, 5),
        b=normal(5, 6),
        c=normal(6, 7),
        row=normal(1, 5),
        column=normal(5, 1),
        batch=normal(3, 4, 5),
        batches=normal(2, 3, 4, 5),
        one=normal(1, 4, 5),
        square=normal(5, 5),
        cube=normal(5, 5, 5),
        x=normal(5),
        scalar=normal(),
        empty=normal(5, 0),
        none=normal(0, 5),
        base=normal(12, 14),
        normal=normal,
    )


# Name of a form: what is called, with the operands `v` and einsum `e`.

WRITTEN = {
    "explicit": lambda v, e: e("ij,jk->ik", v.a, v.b),
    "explicit, permuted": lambda v, e: e("ij,jk->ki", v.a, v.b),
    "spaces": lambda v, e: e(" ij , jk -> ik ", v.a, v.b),
    "capitals": lambda v, e: e("Ij,jK->IK", v.a, v.b),
    "bytes": lambda v, e: e(b"ij,jk->ik", v.a, v.b),
    "implicit": lambda v, e: e("ij,jk", v.a, v.b),
    "implicit, in alphabetical order": lambda v, e: e("zj,ja", v.a, v.b),
    "implicit, a label in three terms": lambda v, e: e("ij,jk,j", v.a, v.b, v.x),
    "implicit, to a scalar": lambda v, e: e("ij,ij", v.a, v.a),
    "implicit, trace": lambda v, e: e("ii", v.square),
    "no result labels": lambda v, e: e("ij,jk->", v.a, v.b),
    "three operands": lambda v, e: e("ij,jk,kl->il", v.a, v.b, v.c),
    "three operands, permuted": lambda v, e: e("ij,jk,kl->li", v.a, v.b, v.c),
    "one array twice": lambda v, e: e("ij,kj->ik", v.a, v.a),
    "lists of integers": lambda v, e: e(v.a, [0, 1], v.b, [1, 2], [0, 2]),
    "lists of integers, implicit": lambda v, e: e(v.a, [3, 1], v.b, [1, 0]),
    "lists of integers, large": lambda v, e: e(v.a, [51, 30], v.b, [30, 2], [2, 51]),
    "lists with an ellipsis": lambda v, e: e(v.batch, [..., 0, 1], v.b, [1, 2], [..., 0, 2]),
    "lists of NumPy's integers": lambda v, e: e(v.a, list(np.arange(2)), v.b, list(np.arange(1, 3))),
    "tuples of integers": lambda v, e: e(v.a, (0, 1), v.b, (1, 2)),
    "lists, three operands": lambda v, e: e(v.a, [0, 1], v.b, [1, 2], v.c, [2, 3], [3, 0]),
}

SUMMED = {
    "row sums": lambda v, e: e("ij->i", v.a),
    "transpose": lambda v, e: e("ij->ji", v.a),
    "diagonal": lambda v, e: e("ii->i", v.square),
    "diagonal of three": lambda v, e: e("iii->i", v.cube),
    "partial diagonal": lambda v, e: e("iji->ij", v.cube),
    "diagonal in a product": lambda v, e: e("ii,ij->j", v.square, v.b),
    "diagonal of the second": lambda v, e: e("ij,jj->i", v.a, v.square),
    "two diagonals": lambda v, e: e("ii,jj->ij", v.square, v.square),
    "diagonal kept in a product": lambda v, e: e("iij,jk->ik", v.cube, v.b),
    "summed in one operand": lambda v, e: e("bij,jk->ik", v.batch, v.b),
    "summed in each operand": lambda v, e: e("ij,kl->jk", v.a, v.b),
    "outer": lambda v, e: e("i,j->ij", v.x, v.x),
    "elementwise": lambda v, e: e("ij,ij->ij", v.a, v.a),
    "inner": lambda v, e: e("i,i->", v.x, v.x),
    "matrix times vector": lambda v, e: e("ij,j->i", v.a, v.x),
    "batch": lambda v, e: e("bij,bkj->bik", v.batch, v.batch),
    "batch, last": lambda v, e: e("bij,bkj->ikb", v.batch, v.batch),
}

BROADCAST = {
    "ellipsis": lambda v, e: e("...ij,jk->...ik", v.batch, v.b),
    "ellipsis of both": lambda v, e: e("...ij,...kj->...ik", v.batches, v.batch),
    "ellipsis of one and of three": lambda v, e: e("...ij,...kj->...ik", v.one, v.batch),
    "ellipsis in the middle": lambda v, e: e("b...j,jk->k...b", v.batch, v.b),
    "ellipsis of nothing": lambda v, e: e("...ij,jk->...ik", v.a, v.b),
    "ellipsis, implicit": lambda v, e: e("...ij,jk", v.batch, v.b),
    "ellipsis alone": lambda v, e: e("...,...", v.a, v.a),
    "ellipsis of a scalar": lambda v, e: e("...,ij", v.scalar, v.a),
    "size one, contracted": lambda v, e: e("ij,jk->ik", v.column, v.b),
    "size one, free": lambda v, e: e("ij,jk->ik", v.row, v.b),
    "size one, kept": lambda v, e: e("ij,ij->ij", v.row, v.a),
    "size one, batch": lambda v, e: e("bij,bkj->bik", v.one, v.batch),
    "size one, everywhere": lambda v, e: e("ij,jk->ik", v.row[:, :1], v.row[:, :1]),
    "size one, in a diagonal": lambda v, e: e("ii->i", v.row[:, :1]),
}

OUT = {
    "out": lambda v, e: e("ij,jk->ik", v.a, v.b, out=np.empty((4, 6), v.dtype)),
    "out, Fortran": lambda v, e: e("ij,jk->ik", v.a, v.b, out=np.empty((4, 6), v.dtype, order="F")),
    "out, strided": lambda v, e: e("ij,jk->ik", v.a, v.b, out=np.zeros((8, 12), v.dtype)[::2, ::2]),
    "out, reversed": lambda v, e: e("ij,jk->ik", v.a, v.b, out=np.zeros((4, 6), v.dtype)[::-1, ::-1]),
    "out, scalar": lambda v, e: e("ij,ij->", v.a, v.a, out=np.zeros((), v.dtype)),
    "out, of a size one": lambda v, e: e("ij,jk->ik", v.row, v.b, out=np.zeros((1, 6), v.dtype)),
    "out, wider": lambda v, e: e("ij,jk->ik", v.a, v.b, out=np.zeros((4, 6), np.longdouble)),
    "out, complex": lambda v, e: e("ij,jk->ik", v.a, v.b, out=np.zeros((4, 6), "D")),
    "out, the other type": lambda v, e: e("ij,jk->ik", v.a, v.b, out=np.zeros((4, 6), v.other)),
    "out, the other type by force": lambda v, e: e(
        "ij,jk->ik", v.a, v.b, out=np.zeros((4, 6), v.other), casting="unsafe"
    ),
    "out, integers": lambda v, e: e("ij,jk->ik", v.a, v.b, out=np.zeros((4, 6), int)),
    "out, the other byte order": lambda v, e: e(
        "ij,jk->ik", v.a, v.b, out=np.zeros((4, 6), v.dtype.newbyteorder())
    ),
    "out, wrong shape": lambda v, e: e("ij,jk->ik", v.a, v.b, out=np.zeros((6, 4), v.dtype)),
    "out, broadcast": lambda v, e: e("ij,jk->ik", v.a, v.b, out=np.zeros((1, 6), v.dtype)),
    "out, one axis more": lambda v, e: e("ij,jk->ik", v.a, v.b, out=np.zeros((1, 4, 6), v.dtype)),
    "out, read-only": lambda v, e: e("ij,jk->ik", v.a, v.b, out=read_only(v.normal(4, 6))),
    "out, a list": lambda v, e: e("ij,jk->ik", v.a, v.b, out=[[0.0] * 6] * 4),
    "out, a tuple": lambda v, e: e("ij,jk->ik", v.a, v.b, out=(np.zeros((4, 6), v.dtype),)),
    "out, None": lambda v, e: e("ij,jk->ik", v.a, v.b, out=None),
    "out, an operand": lambda v, e: e("ij,jk->ik", v.square, v.square, out=v.square),
    "out, an operand transposed": lambda v, e: e("ij,jk->ik", v.square, v.square, out=v.square.T),
    "out, overlaps": lambda v, e: e("ij,jk->ik", v.base[:5, :5], v.square, out=v.base[2:7, 3:8]),
    "out, interleaved with an operand": lambda v, e: e(
        "ij,jk->ik", v.base[:10:2, :5], v.square, out=v.base[1:11:2, :5]
    ),
    "out, three operands": lambda v, e: e("ij,jk,kl->il", v.a, v.b, v.c, out=np.zeros((4, 7), v.dtype)),
    "out, optimised": lambda v, e: e(
        "ij,jk,kl->il", v.a, v.b, v.c, out=np.zeros((4, 7), v.dtype), optimize=True
    ),
    "out, optimised, one of the operands": lambda v, e: e(
        "ij,jk,kl->il", v.square, v.square, v.square, out=v.square, optimize=True
    ),
    "out, order C but Fortran": lambda v, e: e(
        "ij,jk->ik", v.a, v.b, out=np.zeros((4, 6), v.dtype, order="F"), order="C"
    ),
    "out, subclass": lambda v, e: e("ij,jk->ik", v.a, v.b, out=np.zeros((4, 6), v.dtype).view(np.matrix)),
}

TYPES = {
    "dtype, the same": lambda v, e: e("ij,jk->ik", v.a, v.b, dtype=v.dtype),
    "dtype, None": lambda v, e: e("ij,jk->ik", v.a, v.b, dtype=None),
    "dtype, by letter": lambda v, e: e("ij,jk->ik", v.a, v.b, dtype=v.dtype.char),
    "dtype, float64": lambda v, e: e("ij,jk->ik", v.a, v.b, dtype=float),
    "dtype, float32": lambda v, e: e("ij,jk->ik", v.a, v.b, dtype="f"),
    "dtype, float32 by force": lambda v, e: e("ij,jk->ik", v.a, v.b, dtype="f", casting="unsafe"),
    "dtype, float32 of its kind": lambda v, e: e("ij,jk->ik", v.a, v.b, dtype="f", casting="same_kind"),
    "dtype, complex": lambda v, e: e("ij,jk->ik", v.a, v.b, dtype="D"),
    "dtype, longdouble": lambda v, e: e("ij,jk->ik", v.a, v.b, dtype=np.longdouble),
    "dtype, half": lambda v, e: e("ij,jk->ik", v.a, v.b, dtype="e", casting="unsafe"),
    "dtype, integers": lambda v, e: e("ij,jk->ik", v.a, v.b, dtype=int),
    "dtype, integers by force": lambda v, e: e("ij,jk->ik", v.a, v.b, dtype=int, casting="unsafe"),
    "dtype, no type": lambda v, e: e("ij,jk->ik", v.a, v.b, dtype="nothing"),
    "dtype, optimised": lambda v, e: e("ij,jk,kl->il", v.a, v.b, v.c, dtype=float, optimize=True),
    "dtype, and an out of it": lambda v, e: e("ij,jk->ik", v.a, v.b, dtype=float, out=np.zeros((4, 6))),
    **{
        f"casting, {casting}": lambda v, e, casting=casting: e("ij,jk->ik", v.a, v.b, casting=casting)
        for casting in ("no", "equiv", "safe", "same_kind", "unsafe", "never", None)
    },
    **{
        f"casting, {casting}, of two types": lambda v, e, casting=casting: e(
            "ij,jk->ik", v.a, v.b.astype(v.other), casting=casting
        )
        for casting in ("no", "equiv", "safe", "same_kind", "unsafe")
    },
    "two types": lambda v, e: e("ij,jk->ik", v.a, v.b.astype(v.other)),
    "two types, three operands": lambda v, e: e("ij,jk,kl->il", v.a, v.b.astype(v.other), v.c),
    "complex of a real": lambda v, e: e("ij,jk->ik", v.a * np.complex64(1 + 1j), v.b),
    "integers and floats": lambda v, e: e("ij,jk->ik", v.a, np.arange(30).reshape(5, 6)),
    "integers": lambda v, e: e("ij,jk->ik", np.arange(20).reshape(4, 5), np.arange(30).reshape(5, 6)),
    "small integers": lambda v, e: e("ij,jk->ik", np.ones((4, 5), np.int8), np.ones((5, 6), np.uint8)),
    "bool": lambda v, e: e("ij,jk->ik", v.a > 0, v.b > 0),
    "half": lambda v, e: e("ij,jk->ik", v.a.astype("e"), v.b.astype("e")),
    "longdouble": lambda v, e: e("ij,jk->ik", v.a.astype("g"), v.b.astype("g")),
    "objects": lambda v, e: e("ij,jk->ik", v.a.astype(object), v.b.astype(object)),
    "the other byte order": lambda v, e: e("ij,jk->ik", v.a.astype(v.dtype.newbyteorder()), v.b),
    "strings": lambda v, e: e("i,i->", np.array(["a"]), np.array(["b"])),
    "dates": lambda v, e: e("i,i->i", np.zeros(3, "m8[s]"), np.ones(3)),
}

LAYOUTS = {
    "C": lambda x: x,
    "F": np.asfortranarray,
    "reversed": lambda x: x[::-1, ::-1],
    "every second": lambda x: np.repeat(np.repeat(x, 2, 0), 2, 1)[::2, ::2],
    "unaligned": lambda x: unaligned(x),
    "read-only": lambda x: read_only(x.copy()),
    "window": lambda x: np.pad(x, 1)[1:-1, 1:-1],
}

VIEWS = {
    **{
        f"order {order}, {first} and {second}": lambda v, e, order=order, first=first, second=second: e(
            "ij,jk->ik", LAYOUTS[first](v.a), LAYOUTS[second](v.b), order=order
        )
        for order in "CFAK"
        for first, second in (("C", "C"), ("F", "F"), ("C", "F"))
    },
    **{
        f"{layout} operands": lambda v, e, layout=layout: e(
            "ij,jk->ki", LAYOUTS[layout](v.a), LAYOUTS[layout](v.b)
        )
        for layout in LAYOUTS
    },
    **{
        f"order {order}, batch": lambda v, e, order=order: e("bij,bkj->ikb", v.batch, v.batch, order=order)
        for order in ("c", "f", "A", "K")
    },
    **{
        f"order {order}, optimised": lambda v, e, order=order: e(
            "ij,jk,kl->li", v.a, v.b, v.c, order=order, optimize=True
        )
        for order in "CFAK"
    },
    "order, wrong": lambda v, e: e("ij,jk->ik", v.a, v.b, order="Q"),
    "order, None": lambda v, e: e("ij,jk->ik", v.a, v.b, order=None),
    "stride 0": lambda v, e: e("ij,jk->ik", np.broadcast_to(v.x, (4, 5)), v.b),
    "stride 0 of a scalar": lambda v, e: e("ij,jk->ik", np.broadcast_to(v.scalar, (4, 5)), v.b),
    "overlapping windows": lambda v, e: e("ij,jk->ik", windows(v.base[0], 5), v.b),
    "overlapping operands": lambda v, e: e("ij,jk->ik", v.base[:5, :5], v.base[2:7, 3:8]),
    "real parts": lambda v, e: e("ij,jk->ik", (v.a + 1j * v.a).imag, v.b),
    "transposed batch": lambda v, e: e("ijb,jk->bik", v.batch.transpose(1, 2, 0), v.b),
}

CHAINS = {
    "ij,jk->ki": ("a", "b"),
    "ij,jk,kl->il": ("a", "b", "c"),
    "ij,jk,kl": ("a", "b", "c"),
    "bij,jk,kl,j->lbi": ("batch", "b", "c", "x"),
    "...ij,jk,kl->...il": ("batch", "b", "c"),
    "ii,ik,kl->l": ("square", "b", "c"),
}
FINDERS = (
    *(False, True, None, "greedy", "optimal", ("greedy", 20), ("optimal", 20), ("greedy", 10**6)),
    *("nothing", ("nothing", 20), 7),
)


def chain(subscripts, optimize):
    return lambda v, e: e(subscripts, *(getattr(v, name) for name in CHAINS[subscripts]), optimize=optimize)


OPTIMIZED = {
    f"optimize {optimize!r}, {subscripts}": chain(subscripts, optimize)
    for subscripts in CHAINS
    for optimize in FINDERS
}
OPTIMIZED |= {
    "a path": lambda v, e: e("ij,jk,kl->il", v.a, v.b, v.c, optimize=PATH),
    "a path of one step": lambda v, e: e("ij,jk,kl->il", v.a, v.b, v.c, optimize=["einsum_path", (0, 1, 2)]),
    "a path from einsum_path": lambda v, e: e(
        "ij,jk,kl->il", v.a, v.b, v.c, optimize=np.einsum_path("ij,jk,kl->il", v.a, v.b, v.c)[0]
    ),
    "a path, permuted result": lambda v, e: e("ij,jk,kl->li", v.a, v.b, v.c, optimize=PATH),
    "a path that is too short": lambda v, e: e(
        "ij,jk,kl->il", v.a, v.b, v.c, optimize=["einsum_path", (0, 1)]
    ),
    "a path out of range": lambda v, e: e(
        "ij,jk,kl->il", v.a, v.b, v.c, optimize=["einsum_path", (1, 5), (0, 1)]
    ),
    "a path without its name": lambda v, e: e("ij,jk,kl->il", v.a, v.b, v.c, optimize=[(1, 2), (0, 1)]),
    "lists of integers, optimised": lambda v, e: e(v.a, [0, 1], v.b, [1, 2], v.c, [2, 3], optimize=True),
    "an unknown keyword": lambda v, e: e("ij,jk->ik", v.a, v.b, speed=9),
    "an unknown keyword, optimised": lambda v, e: e("ij,jk->ik", v.a, v.b, speed=9, optimize=True),
    "scalars, optimised": lambda v, e: e(",ij,jk->ik", v.scalar, v.a, v.b, optimize=True),
    "size one, optimised": lambda v, e: e("ij,jk,kl->il", v.column, v.b, v.c, optimize=True),
}

UNUSUAL = {
    "nothing to sum": lambda v, e: e("ij,jk->ik", v.empty, v.normal(0, 6)),
    "nothing in the result": lambda v, e: e("ij,jk->ik", v.none, v.b),
    "nothing in a batch": lambda v, e: e("bij,bkj->bik", v.batch[:0], v.batch[:0]),
    "nothing, optimised": lambda v, e: e("ij,jk,kl->il", v.a, v.b[:, :0], v.c[:0], optimize=True),
    "scalar and matrix": lambda v, e: e(",ij->ij", v.scalar, v.a),
    "scalars": lambda v, e: e(",->", v.scalar, v.scalar),
    "Python's numbers": lambda v, e: e(",", 2.0, 3),
    "a number and a matrix": lambda v, e: e(",ij->ji", 2.0, v.a),
    "lists of lists": lambda v, e: e("ij,jk->ik", v.a.tolist(), v.b.tolist()),
    "a list and an array": lambda v, e: e("ij,jk->ik", v.a.tolist(), v.b),
    "matrices": lambda v, e: e("ij,jk->ik", np.asmatrix(v.a), np.asmatrix(v.b)),
    "a matrix and an array": lambda v, e: e("ij,jk->ik", v.a, np.asmatrix(v.b)),
    "matrices, optimised": lambda v, e: e(
        "ij,jk,kl->il", *(map(np.asmatrix, (v.a, v.b, v.c))), optimize=True
    ),
    "masked": lambda v, e: e("ij,jk->ik", np.ma.masked_greater(v.a, 1), v.b),
    "records": lambda v, e: e("ij,jk->ik", v.a.view(np.recarray), v.b),
    "overrides __array_function__": lambda v, e: e("ij,jk->ik", Overriding(), v.b),
    "has __array__": lambda v, e: e("ij,jk->ik", Convertible(v.a), v.b),
    "infinities": lambda v, e: e("ij,jk->ik", with_value(v.a, np.inf), v.b),
    "NaN": lambda v, e: e("ij,jk->ik", v.a, with_value(v.b, np.nan)),
    "zeros": lambda v, e: e("ij,jk->ik", v.a * 0, v.b),
    "overflow": lambda v, e: e(
        "ij,jk->ik", v.a * np.sqrt(np.finfo(v.dtype).max), v.b * 2**v.dtype.itemsize**2
    ),
    "underflow": lambda v, e: e("ij,jk->ik", v.a * np.finfo(v.dtype).tiny, v.b),
}

WRONG = {
    "no arguments": lambda v, e: e(),
    "subscripts alone": lambda v, e: e("ij,jk->ik"),
    "too few operands": lambda v, e: e("ij,jk->ik", v.a),
    "too many operands": lambda v, e: e("ij,jk->ik", v.a, v.b, v.c),
    "a label of two sizes": lambda v, e: e("ij,kj->ik", v.a, v.b),
    "a diagonal of two sizes": lambda v, e: e("ii,ij->j", v.a, v.b),
    "too few labels": lambda v, e: e("i,jk->ik", v.a, v.b),
    "too many labels": lambda v, e: e("ijk,jk->i", v.a, v.b),
    "a result label of no operand": lambda v, e: e("ij,jk->il", v.a, v.b),
    "a result label twice": lambda v, e: e("ij,jk->ii", v.a, v.b),
    "half an arrow": lambda v, e: e("ij,jk-ik", v.a, v.b),
    "two arrows": lambda v, e: e("ij,jk->ik->", v.a, v.b),
    "two dots": lambda v, e: e("..ij,jk->ik", v.a, v.b),
    "an ellipsis twice": lambda v, e: e("...ij...,jk->ik", v.a, v.b),
    "an ellipsis that is not in the result": lambda v, e: e("...ij,jk->ik", v.batch, v.b),
    "ellipses that do not broadcast": lambda v, e: e("...ij,...kj->...ik", v.batch, v.batch[:2]),
    "a digit": lambda v, e: e("i1,1k->ik", v.a, v.b),
    "another alphabet": lambda v, e: e("αβ,βγ->αγ", v.a, v.b),
    "a large integer": lambda v, e: e(v.a, [0, 52], v.b, [52, 1]),
    "a negative integer": lambda v, e: e(v.a, [0, -1], v.b, [-1, 1]),
    "a float": lambda v, e: e(v.a, [0, 1.0], v.b, [1.0, 2]),
    "no labels": lambda v, e: e(v.a, v.b),
    "labels in a string": lambda v, e: e(v.a, "ij", v.b, "jk"),
    "None": lambda v, e: e("ij,jk->ik", None, v.b),
    "wrong, optimised": lambda v, e: e("ij,kj,kl->il", v.a, v.b, v.c, optimize=True),
    "an unknown result label, optimised": lambda v, e: e("ij,jk,kl->iz", v.a, v.b, v.c, optimize=True),
}

FORMS = WRITTEN | SUMMED | BROADCAST | OUT | TYPES | VIEWS | OPTIMIZED | UNUSUAL | WRONG


# ---- Unusual operands ----


class Overriding:
    def __array_function__(self, function, types, args, kwargs):
        return "mine"


class Convertible:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def with_value(array, value):
    array[1, 2] = value
    return array


def read_only(array):
    array.flags.writeable = False
    return array


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    raw[...] = array
    return raw


def windows(row, size):
    return np.lib.stride_tricks.as_strided(row, (4, size), (row.itemsize, row.itemsize))


# ---- Outside and inside ----


class Called:
    """einsum, noting its ``out``, and outside a block how far another result may be from its own."""

    def __init__(self, inside):
        self.inside = inside

    def __call__(self, *args, **kwargs):
        self.out = kwargs.get("out")
        self.allowed = None if self.inside else allowance(args, kwargs)
        return np.einsum(*args, **kwargs)


def allowance(args, kwargs):
    """Componentwise distance of two results of a call, each within its bound; None where there is none."""
    try:
        sizes = [abs(np.array(x, "D", subok=False)) if is_operand(x) else x for x in args]
        ones = [np.ones_like(x) if isinstance(x, np.ndarray) else x for x in sizes]
        size, terms = np.einsum(*sizes), np.max(np.einsum(*ones), initial=1)
        dtype = np.dtype(kwargs.get("dtype") or np.result_type(*filter(is_operand, args)))
    except Exception:  # a call that is wrong, or of lists of lists
        return None
    unit = np.finfo(dtype).eps / 2 if dtype.kind in "fc" else 0.0
    return 4 * (terms + 2 * len(args)) * unit * size + 4 * terms * np.finfo("f").smallest_subnormal


def is_operand(x):
    return isinstance(x, np.ndarray | float | int)


def outcome(form, dtype, inside=False):
    """Value or error of a form on fresh operands, the operands as they are then, and the call."""
    values, called = arrays(dtype), Called(inside)
    try:
        returned = form(values, called)
    except Exception as error:
        return None, (type(error), str(error)), values, called
    assert returned is called.out or called.out is None
    return returned, None, values, called


def same_kind(inside, outside):
    assert type(inside) is type(outside)
    if not isinstance(outside, np.ndarray):
        return
    assert inside.dtype == outside.dtype
    assert inside.shape == outside.shape
    assert inside.strides == outside.strides
    for name in ("c_contiguous", "f_contiguous", "writeable", "aligned"):
        assert getattr(inside.flags, name) == getattr(outside.flags, name), name


def same_value(inside, outside, allowed):
    inside, outside = np.asarray(inside), np.asarray(outside)
    if allowed is None:
        assert inside.tolist() == outside.tolist()
        return
    finite = np.isfinite(outside)
    np.testing.assert_array_equal(inside[~finite], outside[~finite])
    difference = np.abs(inside[finite] - outside[finite])
    assert (difference <= np.broadcast_to(allowed, outside.shape)[finite]).all()


def same_operands(inside, outside):
    """No operand is changed but by an ``out`` that is part of it."""
    for name, array in vars(outside).items():
        if isinstance(array, np.ndarray):
            assert getattr(inside, name).dtype == array.dtype
            np.testing.assert_allclose(getattr(inside, name), array, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # np.matrix
def test_form(name, dtype):
    expected, error, before, called = outcome(FORMS[name], dtype)
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        value, error_inside, after, _ = outcome(FORMS[name], dtype, inside=True)
    assert error_inside == error
    same_operands(after, before)
    if error is None:
        same_kind(value, expected)
        kernel = session.counts["kernel"] > 0
        same_value(value, expected, called.allowed if kernel else None)


def test_right_and_wrong_forms_are_what_they_are_called():
    for name in WRITTEN | SUMMED | BROADCAST:
        assert outcome(FORMS[name], "float64")[1] is None, name
    for name in WRONG:
        assert outcome(FORMS[name], "float64")[1] is not None, name


@pytest.mark.parametrize("name", ["explicit", "implicit", "lists of integers", "out", "reversed operands"])
def test_kernels_are_among_those_that_answer(name):
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        outcome(FORMS[name], "float64", inside=True)
    assert session.counts["kernel"] == 1


NUMPYS = ("integers", "bool", "objects", "half", "longdouble", "matrices", "masked", "dtype, half")


@pytest.mark.parametrize("name", NUMPYS)
def test_numpy_answers_for_other_types(name):
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        outcome(FORMS[name], "float64", inside=True)
    assert session.counts["kernel"] == 0


def test_the_comparison_sees_what_is_wrong():
    value, _, _, called = outcome(FORMS["explicit"], "float64")
    same_value(value, value.copy(), called.allowed)
    with pytest.raises(AssertionError):
        same_value(value + 1e-13, value, called.allowed)
    with pytest.raises(AssertionError):
        same_value(np.nextafter(value, np.inf), value, None)
    for other in (value.astype("f"), np.asfortranarray(value), value.T, value[None], read_only(value.copy())):
        with pytest.raises(AssertionError):
            same_kind(other, value)


def test_a_cast_that_warns_gives_numpys_warning_alone():
    a = np.ones((4, 4)) * (1 + 1j)
    for optimize in (False, True):
        with (
            numtrn.enabled(target="interpreter", min_work=0, strict=True),
            pytest.raises(np.exceptions.ComplexWarning),
        ):
            np.einsum("ij,jk->ik", a, a, out=np.empty((4, 4)), casting="unsafe", optimize=optimize)


def test_a_diagonal_of_two_extents_is_numpys_error():
    def wrong():
        np.einsum("ij,jk,ll->ik", np.ones((3, 4)), np.ones((4, 5)), np.ones((1, 3)))

    with pytest.raises(ValueError) as outside:
        wrong()
    with numtrn.enabled(target="interpreter", min_work=0, strict=True), pytest.raises(ValueError) as inside:
        wrong()
    assert str(inside.value) == str(outside.value)
