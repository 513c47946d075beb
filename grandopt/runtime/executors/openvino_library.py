"""OpenVINO's extension module without the package around it.

The package's `__init__` imports every operator set, front end and tool: 16 MB, and most of the time that
loading a small agent takes. An agent needs classes of the extension alone. The package can still be imported
by its own name, before or afterwards; it uses the same extension.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from types import ModuleType

PACKAGE = "openvino"
EXTENSION = "openvino._pyopenvino"


def extension() -> ModuleType:
    """The extension module. Raises ImportError when OpenVINO is not installed or cannot be loaded."""
    if EXTENSION in sys.modules:
        return sys.modules[EXTENSION]
    if PACKAGE in sys.modules:
        return importlib.import_module(EXTENSION)
    package = importlib.util.find_spec(PACKAGE)
    if package is None:
        raise ModuleNotFoundError(f"No module named {PACKAGE!r}", name=PACKAGE)
    spec = importlib.machinery.PathFinder.find_spec(EXTENSION, package.submodule_search_locations)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {EXTENSION!r}", name=EXTENSION)
    module = importlib.util.module_from_spec(spec)
    sys.modules[EXTENSION] = module  # where the package looks for it
    try:
        spec.loader.exec_module(module)
    except ImportError:
        sys.modules.pop(EXTENSION, None)
        raise
    return module
