"""The two answers to a request: a plan, or a refusal. Both frozen, both printable, both with the reason."""

from __future__ import annotations

from dataclasses import dataclass

from numtrn.plan.contraction import Folding
from numtrn.plan.cost import Prediction
from numtrn.plan.tiling import Tiling
from numtrn.plan.words import plane_count
from numtrn.precision import Scheme
from numtrn.request import Contraction, Gemm, Request, shape_text

__all__ = ["Plan", "Refusal"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What will be done for a call: kernel, precision scheme, launches, and predicted times.

    Attributes
    ----------
    request
        What was asked.
    gemm
        The product that is computed; of an einsum, the GEMM it folds into.
    folding
        How the labels of an einsum fold, or None.
    scheme
        How the operands become what TensorE multiplies, and the promised bound.
    tilings
        Launches of each product that the scheme makes, for the least number of slices that it takes; the
        data may ask for more. The guard of a sliced scheme comes on top.
    target, chip
        Where.
    prediction
        Of device, link and fixed seconds; from published figures or a profile's, no measurement of this call.
    numpy_seconds
        Predicted for NumPy on this machine, from its measured speed; None where nothing asked for it.
    reason
        Why a kernel, in words and figures.
    shapes
        Of launches: "fine", or "few" of the ladder (`numtrn.plan.ladder`).
    cores
        Most cores that launches may be spread over; each tiling says how many it is.
    """

    request: Gemm | Contraction
    gemm: Gemm
    folding: Folding | None
    scheme: Scheme
    tilings: tuple[Tiling, ...]
    target: str
    chip: str
    prediction: Prediction
    numpy_seconds: float | None
    reason: str
    shapes: str = "fine"
    cores: int = 1

    @property
    def kernel(self) -> str:
        """Name of the kernel."""
        return self.tilings[0].kernel if self.scheme.maximum_slices is None else self.scheme.kernel

    @property
    def bound(self) -> float:
        """Promised componentwise error in units of u |A||B|."""
        return self.scheme.bound(self.gemm.k) + self.own_bound

    @property
    def own_bound(self) -> float:
        """What sums over labels of one operand alone, made by the host, add to the product's bound."""
        terms = 0 if self.folding is None else self.folding.summed_terms
        return terms * self.scheme.own_unit / self.scheme.unit

    @property
    def measure(self) -> str:
        """What `bound` is a multiple of, beside the unit."""
        return "|A||B|"

    @property
    def scales(self) -> str:
        """What the underflow of an outcome is a multiple of."""
        return "max|A_i| max|B_j|"

    def __str__(self) -> str:
        gemm = self.gemm
        lines = [
            f"{self.request.function} {self.request.dtype} {shape_text(self.request.shapes)}: kernel",
            f"  reason    {self.reason}",
            f"  product   {gemm.batch} x ({gemm.m} x {gemm.k} . {gemm.k} x {gemm.n}), "
            f"{gemm.work:,} multiply-adds",
            f"  scheme    {self.scheme.name}: {self.scheme.description}",
            *self._digits(),
            f"  promise   |C - AB| <= {self.bound:g} {self.scheme.unit_text} |A||B|, componentwise",
            *(
                f"  kernel    {tiling.kernel}, {tiling.launches} launch(es) of batch {tiling.batch}, "
                f"{tiling.m} x {tiling.k} . {tiling.k} x {tiling.n}, {tiling.instructions:,} instructions"
                + (f", on {tiling.cores} cores" if tiling.cores > 1 else "")
                for tiling in self.tilings
            ),
            f"  target    {self.target}, {self.chip}",
            f"  predicted {self.prediction} ({self.prediction.source})",
        ]
        if self.folding is not None:
            fold = self.folding
            folds = (fold.batch or "-", fold.left or "-", fold.contracted, fold.right or "-")
            lines.insert(3, f"  folds     {fold.kind}: " + "batch {}, m {}, k {}, n {}".format(*folds))
            lines[4:4] = _on_host(fold)
        if self.numpy_seconds is not None:
            lines.append(f"  NumPy     {_ms(self.numpy_seconds)} predicted from its speed on this machine")
        return "\n".join(lines)

    def _digits(self) -> list[str]:
        least, most = self.scheme.minimum_slices(self.gemm.k), self.scheme.maximum_slices
        if least is None:
            return []
        fewest, last = (self.scheme.products(self.gemm.k, slices) for slices in (least, most))
        if self.tilings[0].kernel == "karatsuba_gemm":
            fewest = plane_count(least)
        return [
            f"  slices    {least} digits of 8 bits, {fewest} bf16 products, for sums of {self.gemm.k:,}; "
            f"up to {most} ({last}) as the data ask"
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why a call stays with NumPy.

    Attributes
    ----------
    request
        What was asked.
    reason
        In words and figures.
    steps_work
        Multiply-adds of the steps of a contraction of several operands; None of all else.
    """

    request: Request
    reason: str
    steps_work: int | None = None

    @property
    def work(self) -> int:
        """Multiply-adds; of a contraction of several operands in steps, as a plan for kernels counts them."""
        return self.request.work if self.steps_work is None else self.steps_work

    def __str__(self) -> str:
        shapes = shape_text(self.request.shapes)
        return f"{self.request.function} {self.request.dtype} {shapes}: NumPy\n  reason    {self.reason}"


def _on_host(fold: Folding) -> list[str]:
    """What the host does to the operands of an einsum before the product."""
    lines = []
    for reading in fold.readings:
        name = f"  host      operand {reading.place + 1} {reading.written!r}:"
        if reading.summed:
            lines.append(f"{name} summed over {', '.join(reading.summed)}")
        if reading.copied:
            lines.append(f"{name} {reading.copied:,} bytes copied, as no order of its labels is its memory's")
    return lines


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"
