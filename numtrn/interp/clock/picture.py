"""A picture of the engines over time, with matplotlib (the extra ``plot``), imported where it is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from numtrn.errors import NumtrnError
from numtrn.interp.clock.dependence import LANES
from numtrn.interp.clock.report import Timeline

__all__ = ["merged", "write_picture"]


def merged(
    begin: NDArray[np.float64], duration: NDArray[np.float64], gap: float
) -> list[tuple[float, float]]:
    """Intervals as (begin, length), those closer than ``gap`` joined: what a picture can show."""
    bars: list[tuple[float, float]] = []
    for start, length in sorted(zip(begin.tolist(), duration.tolist(), strict=True)):
        if bars and start - sum(bars[-1]) <= gap:
            bars[-1] = (bars[-1][0], max(bars[-1][1], start + length - bars[-1][0]))
        else:
            bars.append((start, length))
    return bars


def write_picture(timeline: Timeline, path: Path, title: str) -> None:
    """Write the picture as PNG.

    Raises
    ------
    NumtrnError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise NumtrnError("--png needs matplotlib: pip install 'numtrn[plot]'") from None
    figure = Figure(figsize=(12, 4), layout="constrained")
    axes = figure.add_subplot()
    for lane, name in enumerate(LANES):
        chosen = timeline.lanes == lane
        begin = (timeline.start_ns + timeline.begin_ns[chosen]) / 1e3
        bars = merged(begin, timeline.duration_ns[chosen] / 1e3, timeline.total_ns / 1e3 / 4000)
        axes.broken_barh(bars, (lane - 0.4, 0.8), color=f"C{lane}")
        axes.text(0, lane, f" {name}", ha="left", va="center", fontsize=8)
    axes.axvspan(0, timeline.start_ns / 1e3, color="0.93")
    axes.axvspan((timeline.total_ns - timeline.end_ns) / 1e3, timeline.total_ns / 1e3, color="0.93")
    axes.set(xlim=(0, timeline.total_ns / 1e3), ylim=(len(LANES) - 0.4, -0.6), xlabel="us", yticks=[])
    axes.set_title(
        f"{title}: {timeline.total_ns / 1e3:,.1f} us predicted, {timeline.share_of_bound:.0%} of bound"
    )
    FigureCanvasAgg(figure).print_png(str(path))
