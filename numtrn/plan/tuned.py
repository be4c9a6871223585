"""Output blocks and thresholds chosen ahead of time by the clock: what ``numtrn/data/tilings.json`` says.

The file is made by ``benchmarks/tune.py``, which times sample launches without data; inside a call that would
take longer than the call. Every time in it is predicted, none is measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from numtrn.errors import NumtrnError

__all__ = ["SCHEMA", "SLICES", "Block", "Table", "blocks_of", "karatsuba_from", "parse", "table"]

SCHEMA = 1
SLICES = range(7, 17)
PEAKS = (128, 256)
FILE = "tilings.json"
AGAIN = "reinstall numtrn, or make it again with `python benchmarks/tune.py`"


@dataclass(frozen=True, slots=True)
class Block:
    """An output block of a kernel that fits SBUF.

    Attributes
    ----------
    rows, columns
        At most, of the block.
    depth
        Tiles of 128 contraction rows in one chunk, at most.
    ns
        Predicted nanoseconds of a multiply-add of the product in steady state.
    """

    rows: int
    columns: int
    depth: int
    ns: float


Key = tuple[str, str, int, int]
"""Kernel, chip, slices, largest |digit|."""


@dataclass(frozen=True, slots=True)
class Table:
    """All choices: blocks from fast to slow, and square extents from which Karatsuba's form is faster."""

    blocks: Mapping[Key, tuple[Block, ...]]
    karatsuba: Mapping[tuple[str, int], int]


@cache
def table() -> Table:
    """The table that is installed, read once."""
    file = resources.files("numtrn.data").joinpath(FILE)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise NumtrnError(f"numtrn/data/{FILE} cannot be read ({error}); {AGAIN}") from None
    return parse(text)


def parse(text: str) -> Table:
    """A table from the text of its file.

    Raises
    ------
    NumtrnError
        When it is damaged, or of another version.
    """
    try:
        record = json.loads(text)
        if record["schema"] != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}, got {record['schema']!r}")
        return Table(dict(_blocks(record["blocks"])), dict(_thresholds(record["karatsuba_from"])))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NumtrnError(f"numtrn/data/{FILE} is damaged: {error!r}; {AGAIN}") from None


def blocks_of(kernel: str, chip: str, slices: int, peak: int) -> tuple[Block, ...]:
    """Blocks of a kernel for that many slices, from fast to slow; fewer slices than listed take the least."""
    return table().blocks[kernel, chip, max(slices, SLICES[0]), peak]


def karatsuba_from(chip: str, slices: int) -> int | None:
    """Square extent from which Karatsuba's form is faster, or None where it never is."""
    return table().karatsuba.get((chip, slices))


def _blocks(record: dict[str, Any]) -> list[tuple[Key, tuple[Block, ...]]]:
    found = [
        ((kernel, chip, int(slices), int(peak)), tuple(map(_block, rows)))
        for kernel, by_chip in record.items()
        for chip, by_slices in by_chip.items()
        for slices, by_peak in by_slices.items()
        for peak, rows in by_peak.items()
    ]
    for key, blocks in found:
        _require(bool(blocks), f"{key} has no block")
        _require(any(b.rows == b.columns for b in blocks), f"{key} has no square block")
        _require(list(blocks) == sorted(blocks, key=_speed), f"{key} is not in order of time")
    return found


def _speed(block: Block) -> float:
    return block.ns


def _block(row: list[Any]) -> Block:
    rows, columns, depth, ns = row
    for extent, most in ((rows, 512), (columns, 512), (depth, 8)):
        _require(type(extent) is int and 0 < extent <= most, f"{row} is no block")
    _require(isinstance(ns, float) and 0 < ns < 1, f"{row} has no time of a multiply-add")
    return Block(rows, columns, depth, ns)


def _thresholds(record: dict[str, Any]) -> list[tuple[tuple[str, int], int]]:
    found = [
        ((chip, int(slices)), least)
        for chip, by_slices in record.items()
        for slices, least in by_slices.items()
    ]
    for key, least in found:
        _require(type(least) is int and least > 0, f"{key} from {least!r} is no extent")
    return found


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise ValueError(reason)
