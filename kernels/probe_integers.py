"""One operation on int32 at a time, for the device probe: adds of GpSimd, bits and carries of VectorE.

Engines     By case: GpSimd or VectorE; DMA; TensorE and ScalarE are idle.
SBUF        Both operands and the result: three rows of up to 2 KiB.
PSUM        None.
DMA         Rows of up to 2 KiB.
Cores       Two compute the same, and each gives half of the rows.
Bound       Launch; it runs once for each device.
Limits      128 rows.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
SIGN = -2147483648
OFFSET = 8388608
ADD = 0
SHIFT = 1
CARRY = 2
PLACE = 3
EITHER = 4


@nki.jit
def probe_integers(one, other, case):
    """Compute 128 rows.

    Parameters
    ----------
    one, other
        [128, n] int32 in HBM; only adds and ors read ``other``.
    case
        0: ``one`` + ``other`` by GpSimd, in place. By VectorE, 1: ``one`` shifted right by 8, zeros coming
        in. 2: the same as signed numbers, floor(one / 256), by way of a flipped sign and a subtraction in
        fp32. 3: the low 8 bits of ``one``, shifted left by 16. 4: ``one`` or ``other``, bit by bit.

    Returns
    -------
    out
        [128, n] int32 in HBM.
    """
    columns = one.shape[1]
    out = nl.ndarray((PARTITIONS, columns), dtype=nl.int32, buffer=nl.shared_hbm)
    first = nl.ndarray((PARTITIONS, columns), dtype=nl.int32, buffer=nl.sbuf)
    second = nl.ndarray((PARTITIONS, columns), dtype=nl.int32, buffer=nl.sbuf)
    nisa.dma_copy(dst=first, src=one)
    nisa.dma_copy(dst=second, src=other)
    if case == ADD:
        nisa.tensor_tensor(dst=first, data1=first, data2=second, op=nl.add, engine=nisa.engine.gpsimd)
    if case == SHIFT:
        nisa.tensor_scalar(dst=first, data=first, op0=nl.right_shift, operand0=8)
    if case == CARRY:
        nisa.tensor_scalar(
            dst=first, data=first, op0=nl.bitwise_xor, operand0=SIGN, op1=nl.right_shift, operand1=8
        )
        nisa.tensor_scalar(dst=first, data=first, op0=nl.subtract, operand0=OFFSET)
    if case == PLACE:
        nisa.tensor_scalar(
            dst=first, data=first, op0=nl.bitwise_and, operand0=255, op1=nl.left_shift, operand1=16
        )
    if case == EITHER:
        nisa.tensor_tensor(dst=first, data1=first, data2=second, op=nl.bitwise_or, engine=nisa.engine.vector)
    rows = PARTITIONS // nl.num_programs()
    mine = nl.program_id(0) * rows
    nisa.dma_copy(dst=out[mine : mine + rows, 0:columns], src=first[mine : mine + rows, 0:columns])
    return out
