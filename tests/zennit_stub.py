"""Imports zennit beside a torch that has no torchvision.

zennit reads two class names from torchvision at import, only to recognise ResNet blocks. An absent
torchvision gets a stand-in with empty classes while zennit is imported and not a moment longer.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from typing import Any


def import_zennit() -> Any:
    """The zennit package; ImportError where it or torch is not installed."""
    if importlib.util.find_spec("torchvision") is not None:
        return importlib.import_module("zennit")
    names = ("torchvision", "torchvision.models", "torchvision.models.resnet")
    modules = {name: types.ModuleType(name) for name in names}
    for block in ("Bottleneck", "BasicBlock"):
        setattr(modules[names[2]], block, type(block, (), {}))
    modules[names[0]].models = modules[names[1]]  # type: ignore[attr-defined]
    modules[names[1]].resnet = modules[names[2]]  # type: ignore[attr-defined]
    sys.modules.update(modules)
    try:
        return importlib.import_module("zennit")
    finally:
        for name in names:
            del sys.modules[name]
