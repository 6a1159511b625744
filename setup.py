"""Only what pyproject.toml cannot say yet: the cffi module and the stable-ABI wheel tag."""

from setuptools import setup

setup(
    cffi_modules=["csrc/build_ffi.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
