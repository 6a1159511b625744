"""Builds kevy_ring._core with cffi (API mode, out of line); the cdef is read verbatim from kevy_ring.h."""

import shutil
import sysconfig
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LAYERS = ["ring", "inbox", "wire", "rdb", "python"]
SOURCES = [path for layer in LAYERS for path in sorted((HERE / layer).glob("*.c"))]


def declarations() -> str:
    """The part of the header between its two markers: cffi needs nothing else."""
    text = (HERE / "kevy_ring.h").read_text(encoding="utf-8")
    begin = text.index("/* CDEF BEGIN */")
    return text[begin : text.index("/* CDEF END */", begin)]


def require_compiler() -> None:
    """Exit with one line if there is no compiler; setuptools would print a hundred."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if not any(shutil.which(name) for name in (compiler, "cc", "gcc", "clang")):
        raise SystemExit(
            "kevy-ring: no C compiler found; install one first (Debian: apt install gcc libc6-dev python3-dev)"
        )


require_compiler()
ffibuilder = FFI()
ffibuilder.cdef(declarations())
ffibuilder.set_source(
    "kevy_ring._core",
    '#include "kevy_ring.h"\n',
    sources=[str(path.relative_to(ROOT)) for path in SOURCES],
    include_dirs=["csrc"],
    depends=[str(path.relative_to(ROOT)) for path in sorted(HERE.rglob("*.h"))],
    extra_compile_args=[
        "-std=gnu11",
        "-O3",
        "-falign-loops=32",  # a loop that crosses a line of decoded instructions takes half as long again on some cores
        "-fvisibility=hidden",
        "-fno-strict-aliasing",
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",
    ],
    libraries=["pthread", "rt"],
    # Free-threaded Pythons have no stable ABI, and setuptools refuses to build for it there.
    py_limited_api=not sysconfig.get_config_var("Py_GIL_DISABLED"),
)
