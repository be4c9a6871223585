"""NKI kernels: plain NKI source, nothing else.

Each file is one kernel and its helpers, for NKI 0.3.0 to 0.6.0 alike: it imports ``nki``, ``nki.isa`` and
``nki.language`` only, keeps to the portable subset (keyword arguments after ``dst``, ``range`` loops,
slices and no integer indices, a fresh PSUM tile for each accumulation group, explicit ``accumulate``),
and states its engines, what stays in SBUF, how PSUM banks rotate, and its bound. Only `numtrn.targets`
loads these files.
"""
