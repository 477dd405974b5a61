"""What ``relprop evaluate`` does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relprop import evaluate, images
from relprop._commands import METHODS as GRADIENTS
from relprop._commands import _model, _rule, _spec
from relprop.images import InputSpec
from relprop.methods import LRP
from relprop.model import Model

METHODS = ("alpha2_beta1", "alpha1_beta0", "epsilon", "gradient_times_input", "sensitivity")
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})

FloatArray = npt.NDArray[np.float32]


def run(options: argparse.Namespace) -> None:
    """Prints the table and writes the curves."""
    model = _model(options)
    x, target, spec = _data(options, model)
    if options.target == "predicted":
        target = None
    elif target is None:
        raise ValueError(f"{options.data} has no y; accepted with --target label: an .npz with y")
    methods = {name: _method(name, model, spec) for name in options.methods}
    report = evaluate.compare(
        model,
        x,
        methods,
        target,
        regions=options.regions,
        fills=[_fill(fill) for fill in options.fills],
        fraction=options.fraction,
        steps=options.steps,
        score=options.score,
        continuity=options.continuity,
        random_seed=options.seed,
        n_threads=options.threads,
    )
    print(report)
    if options.out is not None:
        report.draw(options.out)
        print(f"wrote {options.out}")


def _data(
    options: argparse.Namespace, model: Model
) -> tuple[FloatArray, npt.NDArray[np.int64] | None, InputSpec]:
    """Samples, their classes where they are known, and how pictures became samples."""
    path: Path = options.data
    if path.is_dir():
        spec = _spec(options, model)
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES)[: options.count]
        if not files:
            raise ValueError(f"{path}: no pictures; accepted: {', '.join(sorted(PICTURES))}")
        return np.stack([images.load_image(file, spec)[0] for file in files]), None, spec
    x, y = _arrays(path, options.count)
    return _fitted(x, model, path), y, InputSpec(channels="L")


def _arrays(path: Path, count: int | None) -> tuple[Any, npt.NDArray[np.int64] | None]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            names = list(getattr(stored, "files", ()))
            if "x" not in names:
                raise ValueError(f"{path} has the arrays {names}; accepted: x, and y if known")
            x, y = stored["x"][:count], stored["y"][:count] if "y" in names else None
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) or str(path) in str(error):
            raise
        raise ValueError(f"{path}: accepted: a folder of pictures or an .npz: {error}") from error
    return x, None if y is None else y.astype(np.int64)


def _fitted(x: npt.NDArray[Any], model: Model, path: Path) -> FloatArray:
    """uint8 becomes [0, 1], and pictures without an axis for channels get one."""
    if x.dtype == np.uint8:
        x = x.astype(np.float32) / np.float32(255)
    if x.dtype.kind != "f":
        raise TypeError(f"{path}: x has dtype {x.dtype}; accepted: float32, or uint8 for pixels")
    shape = model.input_shape
    if x.ndim == 3 and len(shape) == 3 and shape[0] == 1:
        x = x[:, None]
    return np.ascontiguousarray(x, np.float32)


def _method(name: str, model: Model, spec: InputSpec) -> Any:
    if name in GRADIENTS:
        return GRADIENTS[name](model)
    return LRP(model, _rule(name, spec))


def _fill(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
