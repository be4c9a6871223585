"""What pyproject.toml cannot say: all packages below numtrn beside the kernels, and that C is optional.

Where no compiler or no supported platform is found, the build warns and goes on. Without the thunks numtrn
works through its own arrays only, and ``python -m numtrn doctor`` says which layers are off. Without the
fixed-point loops NumPy does the host's arithmetic, to the same bits. Without the fingerprints of contents
Python's hashlib makes them.
"""

from setuptools import Extension, find_packages, setup

setup(
    packages=[*find_packages(include=["numtrn", "numtrn.*"]), "numtrn_kernels"],
    ext_modules=[
        Extension(
            "numtrn.intercept._hook",
            ["numtrn/intercept/_hook.c"],
            define_macros=[("Py_LIMITED_API", "0x030A0000")],
            py_limited_api=True,
            optional=True,
            extra_compile_args=["-O2", "-std=c11", "-Wall", "-Wextra", "-ftls-model=initial-exec"],
            libraries=["m", "dl"],
        ),
        Extension(
            "numtrn.precision._fixed",
            ["numtrn/precision/_fixed.c"],
            define_macros=[("Py_LIMITED_API", "0x030A0000")],
            py_limited_api=True,
            optional=True,
            # Rounding is what this file is about: nothing may be contracted or reordered.
            extra_compile_args=["-O3", "-std=c11", "-ffp-contract=off", "-fno-fast-math", "-Wall", "-Wextra"],
            libraries=["m"],
        ),
        Extension(
            "numtrn._digest",
            ["numtrn/_digest.c"],
            define_macros=[("Py_LIMITED_API", "0x030A0000")],
            py_limited_api=True,
            optional=True,
            extra_compile_args=["-O3", "-std=c11", "-Wall", "-Wextra"],
        ),
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
