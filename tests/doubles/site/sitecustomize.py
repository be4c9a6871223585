"""Loaded at the start of a process on a double's host: detection looks below another root."""

import os

if os.environ.get("NEURON_DOUBLE_ROOT"):
    from numtrn.targets import detect

    detect.DEV = f"{os.environ['NEURON_DOUBLE_ROOT']}/dev"
    detect.SYS = f"{os.environ['NEURON_DOUBLE_ROOT']}/sys"
