"""The list of hazards: what passes in a permissive simulator and fails, or differs, on a device.

Each is checked while a kernel runs, or in its source, or only listed, with the reason. This file is the
table and the levels; the checks stand in ``rules.py``, in the instructions and in ``static*.py``. The
page ``docs/hazards.md`` is written from here (`page`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["HAZARDS", "LEVELS", "Checks", "Hazard", "page"]

LEVELS = ("error", "warning", "off")
"""What a check does when it fails; ``error`` unless asked otherwise."""


@dataclass(frozen=True, kw_only=True)
class Hazard:
    """One entry of the list.

    Attributes
    ----------
    id
        ``"H1"`` to ``"H43"``.
    rule
        What a kernel must keep to.
    running
        Whether it is checked while a kernel runs.
    source
        Whether it is checked in a kernel's source.
    note
        Limits of the check; for a hazard that is listed only, why it cannot be checked.
    then
        How a run goes on when the level is lowered; empty where there is nothing to go on with.
    """

    id: str
    rule: str
    running: bool = True
    source: bool = False
    note: str = ""
    then: str = ""

    @property
    def checked(self) -> bool:
        """Whether anything checks it."""
        return self.running or self.source


def _hazards() -> list[Hazard]:
    return [
        Hazard(
            id="H1",
            rule="An operand on chip starts at partition 0, 32, 64 or 96; at 0 or 64 if it has more than 32"
            " partitions; at 0 if more than 64",
            then="the partitions named are used",
        ),
        Hazard(id="H2", rule="Partitions of an operand on chip are consecutive", source=True),
        Hazard(id="H3", rule="At most 128 partitions"),
        Hazard(
            id="H4",
            rule="Live tiles fit SBUF and PSUM",
            note="A tile is live while the kernel refers to it; a compiler may do better or worse",
            then="memory grows as needed, as if the compiler spilled",
        ),
        Hazard(
            id="H5",
            rule="Tiles placed by address fit, start on a bank in PSUM, and are not read after another tile"
            " was written over them",
            source=True,
            note="The offset counts bytes; one document says elements, hence a warning in source. Lowering it"
            " lets reads pass; the rest stays an error",
            then="each tile keeps its values, as if its memory were its own",
        ),
        Hazard(
            id="H6",
            rule="Memory is written before it is read",
            then="unwritten floats read as NaN and integers as 4, as in the official simulator",
        ),
        Hazard(id="H7", rule="A matmul writes inside one PSUM bank, within the sizes of the array"),
        Hazard(
            id="H8",
            rule="float32 and tfloat32 multiply only each other; e4m3 not e4m3fn; onezero is 0 or 1",
            then="the values are multiplied as they are",
        ),
        Hazard(
            id="H9",
            rule="A matmul result is float32; from gen4 on also bfloat16, rounded at every accumulation",
        ),
        Hazard(
            id="H10",
            rule="accumulate=True only after a matmul with accumulate=False on the same locations",
            then="locations that nothing wrote count as zero",
        ),
        Hazard(
            id="H11",
            rule="A matmul does not add to what another engine wrote to PSUM",
            source=True,
            note="In source: nl.zeros, nl.ones or nl.full in PSUM, as a warning",
            then="the product is added to what is there",
        ),
        Hazard(
            id="H12",
            rule="accumulate=None only where the compiler's inference is unambiguous",
            then="each location by itself: the first matmul overwrites, later ones add, read or not",
        ),
        Hazard(
            id="H13",
            rule="Two tensor inputs of one instruction are not both in PSUM",
            then="computed as if one were in SBUF",
        ),
        Hazard(
            id="H14",
            rule="GpSimd does not touch PSUM",
            note="An engine that lacks the operator stays an error",
            then="computed as if the operand were in SBUF",
        ),
        Hazard(id="H15", rule="A DMA does not touch PSUM", then="moved as if the operand were in SBUF"),
        Hazard(
            id="H16",
            rule="hwdge needs gen3, equal dtypes and a sync or scalar engine; engine= needs hwdge",
            then="moved as with dge_mode.unknown",
        ),
        Hazard(id="H17", rule="Operands have equal partitions and element counts; nothing broadcasts"),
        Hazard(
            id="H18", rule="Operands, bias, scale and reduce_res per partition are (P, 1), mostly float32"
        ),
        Hazard(id="H19", rule="Operators and engines go together as documented"),
        Hazard(
            id="H20",
            rule="The constant of memset is an int for integer tiles, a float for others",
            then="the constant is cast as an engine casts: to nearest even, saturating",
        ),
        Hazard(
            id="H21",
            rule="32-bit integers on a float32 path are exact: at most 2^24, or with zeros at the end",
            note="Judged by the values of the run; overflow of GpSimd integers stays an error",
            then="values are rounded to float32, to nearest even",
        ),
        Hazard(
            id="H22",
            rule="Casts to integers round to nearest even and saturate; NaN has no integer",
            note="Rounding and saturation are imitated, not refused",
            then="NaN becomes 0, a pattern saturates",
        ),
        Hazard(
            id="H23",
            rule="NKI_PRECISE_FP=1, so that the official simulator rounds bfloat16 and float8",
            running=False,
            note="Not a property of a kernel. Here narrow types are always held as their bits, so"
            " that nothing is hidden; the target for the official simulator sets the variable",
        ),
        Hazard(
            id="H24",
            rule="Inputs of an activation lie in its published range",
            then="the function of NumPy is used outside the range too",
        ),
        Hazard(id="H25", rule="Accumulator registers are reset before they are added to or read"),
        Hazard(
            id="H26",
            rule="nc_transpose: equal dtypes, sizes of the engine, PSUM from TensorE, no NaN on gen2",
        ),
        Hazard(id="H27", rule="dma_transpose: axes, dtype, destination shape and hwdge sizes as documented"),
        Hazard(id="H28", rule="Reductions run over the last free axes, with operators the instruction has"),
        Hazard(id="H29", rule="Features of a later generation are not used on an earlier one"),
        Hazard(
            id="H30", rule="Access patterns fit their fields: five dimensions, counts, strides, free size"
        ),
        Hazard(id="H31", rule="Slices, indices and patterns stay inside the tensor"),
        Hazard(
            id="H32",
            rule="A kernel keeps to the Python that NKI compiles",
            running=False,
            source=True,
            note="What no document mentions and the NKI library uses is a warning, the rest an error",
        ),
        Hazard(
            id="H33",
            rule="Constants fit 32 bits: integers below 2^31, floats in the range of float32",
            source=True,
        ),
        Hazard(
            id="H34",
            rule="A kernel is pure: only its arguments decide its result, or the compile cache goes stale",
            running=False,
            source=True,
            note="Sees what one file shows; imported helpers are not followed",
        ),
        Hazard(
            id="H35",
            rule="Outputs are whole tensors in shared HBM, written completely; an argument is written only if"
            " it is returned or annotated nt.mutable_tensor, and then it is written",
            source=True,
            note="Lowering it lets unwritten parts pass, outputs in private HBM, and undeclared writes of"
            " arguments; the rest stays an error",
            then="unwritten floats come back as NaN and integers as 4, and an argument is what was written",
        ),
        Hazard(
            id="H36",
            rule="No nki.language functions that fail on hardware: divide, mod, fmod, power of a number,"
            " matmul without transpose_x",
            source=True,
            note="While running: divide, mod and fmod, the only ones that have no other use",
        ),
        Hazard(
            id="H37",
            rule="Registers and variables of device loops stay out of Python's own control flow",
            source=True,
            note="In source: within one function, also tensors of a device loop's body that outlive it;"
            " registers that are passed on are not followed",
            then="the value that the register has in this run decides",
        ),
        Hazard(
            id="H38",
            rule="On two cores, control flow and shared constants do not depend on the core, and what one"
            " writes to shared HBM the other touches only after a core_barrier",
            source=True,
            note="In source: control flow and constants; while running: races, whatever the order of the run."
            " Cores that wait for each other in vain stay an error",
            then="what came last in this run counts, which may differ in the next",
        ),
        Hazard(
            id="H39",
            rule="No forms whose meaning or availability changed between NKI 0.3.0 and 0.6.0",
            source=True,
            note="In source: an error where the meaning changed, a warning where a name came later",
            then="forms are read as in the newest version; positional arguments in the order of NKI 0.4",
        ),
        Hazard(
            id="H40",
            rule="dma_compute lists dst among its sources, and its indices are unique",
            source=True,
            note="In source: the form; while running: also whether indices repeat",
            then="one source replaces dst; of repeated indices the last one wins",
        ),
        Hazard(
            id="H41",
            rule="Arguments are those of the signature: members of enumerations, buffers, dtypes, keywords",
            source=True,
        ),
        Hazard(
            id="H42",
            rule="kernel[n] equals NEURON_LOGICAL_NC_CONFIG",
            running=False,
            note="A setting of the runtime on the machine with the device; a kernel cannot know it",
        ),
        Hazard(
            id="H43",
            rule="Results do not depend on the order of summation inside an instruction",
            running=False,
            note="The order is not documented; results are compared with error bounds, and integer"
            " kernels keep sums below 2^24, where every order is exact",
        ),
    ]


HAZARDS: Mapping[str, Hazard] = MappingProxyType({hazard.id: hazard for hazard in _hazards()})
"""The hazards by id."""

PLAIN = MappingProxyType(
    {
        "alias": "An instruction's result may be one of its inputs, or apart from it; other overlaps are not"
        " documented",
        "context": "Tensors and functions of NKI are used in the run they belong to",
        "memory": "Operands are in a memory the engine can reach",
        "python": "The kernel raised an exception of its own",
        "unsupported": "NKI has it, this interpreter does not",
    }
)
"""Rules without a number; none can be lowered."""

FAILING = MappingProxyType(
    {
        "nki.language.divide": "no engine divides; multiply by nisa.reciprocal instead",
        "nki.language.mod": "it works in the official simulator and fails on hardware",
        "nki.language.fmod": "it works in the official simulator and fails on hardware",
    }
)
"""Functions that exist and fail on hardware (H36; ``nki/api/nki.language``), with what to do."""


@dataclass(frozen=True, kw_only=True)
class Checks:
    """How strict a run is.

    Attributes
    ----------
    levels
        Hazard to level, such as ``{"H11": "warning"}``; ``"error"`` for those not named. Only a hazard
        with something to go on with can be lowered: ``HAZARDS["H11"].then`` says how.

    Raises
    ------
    ValueError
        A name is not a hazard, a level not one of `LEVELS`, or the hazard cannot be lowered.
    """

    levels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known_levels(self.levels)
        for rule, level in self.levels.items():
            if level != "error" and (rule in PLAIN or not HAZARDS[rule].then):
                raise ValueError(f"{rule} stays an error; got {level!r}. {_why(rule)}")
        object.__setattr__(self, "levels", MappingProxyType(dict(self.levels)))

    def level(self, rule: str) -> str:
        """What a failed check of ``rule`` does."""
        return self.levels.get(rule, "error")


def known_levels(levels: Mapping[str, str]) -> None:
    """Raise ValueError unless every name is a rule and every level is a level."""
    for rule, level in levels.items():
        if rule not in HAZARDS and rule not in PLAIN:
            raise ValueError(f"a level belongs to a hazard, H1 to H{len(HAZARDS)}; got {rule!r}")
        if level not in LEVELS:
            raise ValueError(f"the level of {rule} must be one of {', '.join(LEVELS)}; got {level!r}")


def _why(rule: str) -> str:
    if rule in PLAIN or HAZARDS[rule].running:
        return "A kernel that breaks it has no result to go on with"
    if HAZARDS[rule].source:
        return "A run does not check it; python -m numtrn check --level does"
    return f"Nothing checks it: {HAZARDS[rule].note}"


# -- the page --------------------------------------------------------------------------------------

_HEAD = """# Hazards: what the interpreter and the checker refuse

Written from `numtrn/interp/hazards.py`; a test fails when this page is stale.

A hazard passes, or may pass, in a permissive simulator, and fails or differs on a device. Of {total},
{checked} are checked: {running} while a kernel runs, {source} in its source, some both
ways; {listed} are listed only.

- **While it runs**: `numtrn.interp.simulate(kernel, arguments, chip=...)` raises `KernelFault` with the
  hazard, what was found and the line of the kernel.
- **In its source**: `python -m numtrn check FILE...` prints findings and ends with 1 if one is an error;
  `--level H34=off` changes a level there, for every hazard alike.
- **Levels** of a run: `simulate(..., checks=Checks(levels={{"H11": "warning"}}))`. All are errors by
  default. A hazard with an entry under "Lowered" may be `"warning"` (a `KernelHazardWarning`, once in
  a run for each line of the kernel) or `"off"`; the run then goes on as the entry says. The others have
  nothing to go on with.

Each check has its smallest refused kernel and the message in `tests/interp/test_hazards.py` and
`tests/interp/test_static.py`.

| | Rule | Checked | Default | Lowered | Notes |
|---|---|---|---|---|---|
"""


def page() -> str:
    """``docs/hazards.md``."""
    rows = HAZARDS.values()
    head = _HEAD.format(
        total=len(HAZARDS),
        checked=sum(hazard.checked for hazard in rows),
        running=sum(hazard.running for hazard in rows),
        source=sum(hazard.source for hazard in rows),
        listed=sum(not hazard.checked for hazard in rows),
    )
    plain = "\n".join(f"- `{word}`: {text}." for word, text in PLAIN.items())
    return head + "".join(map(_row, rows)) + f"\nRules without a number, always errors:\n\n{plain}\n"


def _row(hazard: Hazard) -> str:
    ways = [way for way, used in (("running", hazard.running), ("source", hazard.source)) if used]
    cells = (
        hazard.id,
        hazard.rule,
        ", ".join(ways) or "listed",
        "error" if hazard.checked else "",
        hazard.then or ("no" if hazard.running else ""),
        hazard.note,
    )
    return "| " + " | ".join(cells) + " |\n"
