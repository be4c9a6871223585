"""The one thing pyproject.toml cannot say: the C thunks are optional.

Where no compiler or no supported platform is found, the build warns and goes on; numtrn then works
through its own arrays only, and ``python -m numtrn doctor`` says which layers are off.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "numtrn.intercept._hook",
            ["numtrn/intercept/_hook.c"],
            define_macros=[("Py_LIMITED_API", "0x030A0000")],
            py_limited_api=True,
            optional=True,
            extra_compile_args=["-O2", "-std=c11", "-Wall", "-Wextra", "-ftls-model=initial-exec"],
            libraries=["m", "dl"],
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
