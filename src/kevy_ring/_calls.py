"""Loads the module of csrc/python/module.c from the library that cffi builds for ``kevy_ring._core``."""

import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location

_library = find_spec("kevy_ring._core")
if _library is None or _library.origin is None:
    raise ImportError("kevy-ring: the compiled core is missing: run pip install --force-reinstall kevy-ring")
_spec = spec_from_file_location(__name__, _library.origin, loader=ExtensionFileLoader(__name__, _library.origin))
assert _spec is not None
assert _spec.loader is not None
_module = module_from_spec(_spec)
_spec.loader.exec_module(_module)
sys.modules[__name__] = _module  # the import statement returns this entry
