"""Composites made with Zennit itself, recognised by their classes' names: zennit is not imported.

A hook of Zennit keeps its parameters in the closures of its functions; their names are those of the
arguments.
"""

from __future__ import annotations

import sys
from typing import Any

from relprop._core import UnsupportedError
from relprop.compat.zennit import rules
from relprop.compat.zennit.composites import Composite, Context
from relprop.compat.zennit.rules import Hook


def accelerate(composite: Any) -> Composite:
    """The composite of relprop that gives a module the same rules.

    Args:
        composite: made with Zennit (zennit.composites, or any zennit.core.Composite), or with
            `relprop.compat.zennit.composites`, which is returned as it is.

    Raises:
        TypeError: something else.
        UnsupportedError: at the first call with a model, a hook that relprop has no rule for.
    """
    if isinstance(composite, Composite):
        return composite
    if not callable(getattr(composite, "module_map", None)):
        raise TypeError(
            f"composite is of type {type(composite).__name__}; accepted: a composite of Zennit or "
            "of relprop.compat.zennit.composites"
        )
    return _Accelerated(composite)


class _Accelerated(Composite):
    """Asks Zennit's own mapping, and translates what it answers."""

    def __init__(self, original: Any) -> None:
        super().__init__(self.mapping, getattr(original, "canonizers", ()))
        self._original = original
        layer = sys.modules.get(f"{type(original).__module__.partition('.')[0]}.layer")
        self.sum_module = getattr(layer, "Sum", self.sum_module)

    def mapping(self, ctx: Context, name: str, module: Any) -> Hook | None:
        """The translation of Zennit's hook of a module."""
        hook = self._original.module_map(ctx, name, module)
        return None if hook is None else translated(hook, name)


def translated(hook: Any, name: str) -> Hook:
    """A hook of Zennit as one of relprop's.

    Raises:
        UnsupportedError: a class without a rule here, or a parameter that the rule does not take.
    """
    if isinstance(hook, Hook):
        return hook
    kind = type(hook).__name__
    make = getattr(rules, kind, None)
    if make is None or not type(hook).__module__.startswith("zennit."):
        raise UnsupportedError(
            f"module '{name}': hook {type(hook).__module__}.{kind}; supported: Epsilon, Gamma, "
            "ZPlus, AlphaBeta, ZBox, WSquare, Flat, Pass, Norm of Zennit"
        )
    if not hasattr(hook, "gradient_mapper"):  # Pass, and those that are refused by name
        return make()  # type: ignore[no-any-return]
    arguments: dict[str, Any] = {
        "epsilon" if kind == "Epsilon" else "stabilizer": _stabilizer(hook, name)
    }
    if kind != "Norm":
        arguments["zero_params"] = _zero_params(hook, kind)
    if kind == "AlphaBeta":
        arguments |= {key: _closure(hook.reducer)[key] for key in ("alpha", "beta")}
    if kind == "Gamma":
        arguments["gamma"] = _closure(hook.param_modifiers[0].modifier)["gamma"]
    if kind == "ZBox":
        arguments["low"] = _closure(hook.input_modifiers[1])["low"]
        arguments["high"] = _closure(hook.input_modifiers[2])["high"]
    return make(**arguments)  # type: ignore[no-any-return]


def _stabilizer(hook: Any, name: str) -> float:
    stabilizer = _closure(hook.gradient_mapper)["stabilizer_fn"]
    plain = getattr(stabilizer, "clip", True) is False and not stabilizer.norm_scale
    if not plain:
        raise UnsupportedError(
            f"module '{name}': {type(hook).__name__} with the stabilizer {stabilizer!r}; "
            "supported: a number, which is added with the sign of the denominator"
        )
    return float(stabilizer.epsilon)


def _zero_params(hook: Any, kind: str) -> Any:
    # Flat adds the bias by itself.
    return None if kind == "Flat" else hook.param_modifiers[0].zero_params


def _closure(function: Any) -> dict[str, Any]:
    cells = function.__closure__ or ()
    return dict(zip(function.__code__.co_freevars, (c.cell_contents for c in cells), strict=True))
