"""A timeline in the Chrome trace event format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

Format: the "Trace Event Format" document of the Chromium project; complete events (``"ph": "X"``), times in
microseconds. DMA transfers overlap, so each queue is spread over as many rows as it needs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from numtrn.interp.clock.dependence import LANES, LOAD
from numtrn.interp.clock.report import Timeline

__all__ = ["trace_events", "write_trace"]


def trace_events(timeline: Timeline, core: int = 0) -> list[dict[str, Any]]:
    """One event for each instruction, after the names of the rows; a second core is a second process."""
    critical = set(timeline.critical_path)
    events: list[dict[str, Any]] = []
    ends: dict[int, list[float]] = {}
    for index in timeline.begin_ns.argsort(kind="stable").tolist():
        begin, duration = float(timeline.begin_ns[index]), float(timeline.duration_ns[index])
        lane = int(timeline.lanes[index])
        row = _row(ends.setdefault(lane, []), begin, begin + duration) if lane >= LOAD else 0
        events.append(
            {
                "name": timeline.names[index],
                "ph": "X",
                "pid": core,
                "tid": 1000 * lane + row,
                "ts": (timeline.start_ns + begin) / 1e3,
                "dur": duration / 1e3,
                "args": {"instruction": index, "critical": index in critical},
            }
        )
    names = _names(timeline, core, sorted({event["tid"] for event in events}))
    others = [event for at, other in enumerate(timeline.others) for event in trace_events(other, at + 1)]
    return names + events + others


def _row(ends: list[float], begin: float, end: float) -> int:
    """The first row that is free, or a new one."""
    for row, until in enumerate(ends):
        if until <= begin:
            ends[row] = end
            return row
    ends.append(end)
    return len(ends) - 1


def _names(timeline: Timeline, core: int, rows: list[int]) -> list[dict[str, Any]]:
    title = f"{timeline.chip} core {core}, predicted"
    names: list[dict[str, Any]] = [{"name": "process_name", "ph": "M", "pid": core, "args": {"name": title}}]
    for row in rows:
        lane, part = divmod(row, 1000)
        name = LANES[lane] + (f" {part}" if lane >= LOAD else "")
        names.append({"name": "thread_name", "ph": "M", "pid": core, "tid": row, "args": {"name": name}})
    return names


def write_trace(timeline: Timeline, path: Path) -> None:
    """Write the trace as JSON."""
    record = {"traceEvents": trace_events(timeline), "displayTimeUnit": "ns"}
    path.write_text(json.dumps(record), encoding="utf-8")
