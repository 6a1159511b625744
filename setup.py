"""Only what pyproject.toml cannot say yet: the cffi module and the stable-ABI wheel tag."""

import sysconfig

from setuptools import setup

has_stable_abi = not sysconfig.get_config_var("Py_GIL_DISABLED")  # a free-threaded Python has none

setup(
    cffi_modules=["csrc/build_ffi.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if has_stable_abi else {},
)
