"""What the commands of ``relprop`` do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relprop import composites, images, zoo
from relprop._info import info as build_info
from relprop._progress import bar
from relprop.images import InputSpec
from relprop.methods import LRP, Gradient, GradientTimesInput, Sensitivity
from relprop.model import Model, from_onnx
from relprop.rules import AlphaBeta, Epsilon, Flat, Gamma, Rule, WSquare, ZPlus

DEFAULT_RULE = "epsilon_plus_flat"
METHODS = {
    "sensitivity": Sensitivity,
    "gradient": Gradient,
    "gradient_times_input": GradientTimesInput,
}
RULES: dict[str, Callable[..., Rule]] = {
    "epsilon": Epsilon,
    "z_plus": ZPlus,
    "alpha_beta": AlphaBeta,
    "gamma": Gamma,
    "w_square": WSquare,
    "flat": Flat,
}

FloatArray = npt.NDArray[np.float32]


def explain(options: argparse.Namespace) -> None:
    """Writes heatmaps and says what they explain."""
    model = _model(options)
    spec = _spec(options, model)
    method = _method(options, model, spec)
    names = spec.class_names()
    for path, target in _progress(_targets(options.images, options.out)):
        x, shown = images.load_image(path, spec)
        relevance, lines = _explain_one(options, model, method, x, names)
        over = target.with_name(f"{target.stem}_overlay{target.suffix}")
        images.save_png(target, images.heatmap(relevance, percentile=options.percentile))
        images.save_png(over, images.overlay(relevance, shown, percentile=options.percentile))
        _print(path, *lines, f"wrote {target} and {over}")


def predict(options: argparse.Namespace) -> None:
    """Prints the most probable classes."""
    model = _model(options)
    spec = _spec(options, model)
    names = spec.class_names()
    for path in _progress(options.images):
        x, _ = images.load_image(path, spec)
        output = model(x[None], n_threads=options.threads)[0]
        if output.size != output.shape[0]:
            raise ValueError(f"output has shape {output.shape}; accepted: one value per class")
        _print(path, *_top_classes(output.ravel(), names, options.top))


def info(options: argparse.Namespace) -> None:
    """Prints the layers of a model, or what this build is."""
    if options.model is None:
        for key, value in build_info().items():
            print(f"{key:<9} {', '.join(value) if isinstance(value, list) else value}")
        return
    model = _model(options)
    shape = model.input_shape
    if options.size is not None and len(shape) == 3 and shape[0] is not None:
        shape = (shape[0], *options.size)
    sizes = tuple(size for size in shape if size is not None)
    if len(sizes) != len(shape):
        raise ValueError(f"the input leaves sizes open, {shape}; give them with --size H,W")
    # Bounds change no kernel; those of one channel broadcast to all.
    print(model.summary(_rule(options.rule, InputSpec(channels="L")), sample_shape=sizes))


def _model(options: argparse.Namespace) -> Model:
    if options.model == "digits":
        if options.output is not None:
            raise ValueError("--output belongs to ONNX files; digits has one output")
        return zoo.digits()
    return from_onnx(options.model, output=options.output)


def _spec(options: argparse.Namespace, model: Model) -> InputSpec:
    """Options go before the JSON beside the model, that before what the input's shape says."""
    shape = model.input_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f"the model's input is {shape}; accepted: pictures of 1 or 3 channels")
    beside = images.spec_path(options.model)
    spec = InputSpec.from_json(beside) if beside else InputSpec()
    names = ("size", "channels", "mean", "std", "labels")
    given = {name: getattr(options, name) for name in names} | {"range": options.input_range}
    given = {name: value for name, value in given.items() if value is not None}
    if beside is None and options.model != "digits" and not given.keys() & {"mean", "std", "range"}:
        print(
            "relprop: no JSON beside the model and no --mean, --std or --input-range: "
            "pixels are scaled to [0, 1]",
            file=sys.stderr,
        )
    if shape[0] == 1:
        given.setdefault("channels", "L")
    if spec.size is None and shape[1] is not None and shape[2] is not None:
        given.setdefault("size", (shape[1], shape[2]))
    return replace(spec, **given)


def _method(options: argparse.Namespace, model: Model, spec: InputSpec) -> Any:
    if options.method is not None:
        return METHODS[options.method](model)
    return LRP(model, _rule(options.rule or DEFAULT_RULE, spec))


def _rule(text: str, spec: InputSpec) -> Rule | composites.Composite:
    """A composite by name, or a rule with its numbers: gamma:0.25."""
    if text == "epsilon_gamma_box":
        return composites.epsilon_gamma_box(*spec.bounds)
    name, _, numbers = text.partition(":")
    if name not in RULES:
        return composites.as_composite(text)
    try:
        return RULES[name](*(float(number) for number in numbers.split(",") if number))
    except TypeError as error:
        raise ValueError(f"rule '{text}': {error}") from error


def _explain_one(
    options: argparse.Namespace, model: Model, method: Any, x: FloatArray, names: list[str] | None
) -> tuple[FloatArray, list[str]]:
    """The relevance of one picture and what to print about it."""
    batch, n_threads = x[None], options.threads
    output = model(batch, n_threads=n_threads)
    classes = output.size == output.shape[1]
    if options.target is None and not classes:
        relevance = method.attribute(batch, start=output, n_threads=n_threads)[0]
        return relevance, [f"explained: all of the output {output.shape[1:]}"]
    if options.target is None:
        target: tuple[int, ...] = (int(output.argmax()),)
    else:
        target = options.target
    asked = target[0] if classes and len(target) == 1 else target
    relevance = method.attribute(batch, [asked] if classes else asked, n_threads=n_threads)[0]
    value = output.reshape(-1)[asked] if classes else output[0][asked]
    label = _class_name(names, target[0]) if classes else f"position {target}"
    total = relevance.sum(dtype=np.float64)
    lines = _top_classes(output.ravel(), names, 3) if classes else []
    return relevance, [*lines, f"explained: {label}, f = {value:.4f}, sum of R = {total:.4f}"]


def _top_classes(output: FloatArray, names: list[str] | None, count: int) -> list[str]:
    """Lines for the largest outputs, with probabilities by softmax unless they are some already."""
    values = output.astype(np.float64)
    probability = values
    if values.min() < 0 or abs(values.sum() - 1) > 1e-3:
        probability = np.exp(values - values.max())
        probability /= probability.sum()
    order = np.argsort(-values, kind="stable")[: max(count, 0)]
    return [
        f"{_class_name(names, int(k)):<32} p = {probability[k]:.4f}   f = {values[k]:.4f}"
        for k in order
    ]


def _class_name(names: list[str] | None, index: int) -> str:
    return f"{index} {names[index]}" if names and index < len(names) else f"class {index}"


def _targets(paths: Sequence[Path], out: Path) -> list[tuple[Path, Path]]:
    """Where the heatmap of each image goes: as told, or with the image's name if there are more."""
    out = out if out.suffix else out.with_suffix(".png")
    if len(paths) == 1:
        return [(paths[0], out)]
    named: dict[str, Path] = {}
    for path in paths:
        stem, number = path.stem, 2
        while stem in named:
            stem, number = f"{path.stem}_{number}", number + 1
        named[stem] = path
    return [(path, out.with_name(f"{out.stem}_{stem}{out.suffix}")) for stem, path in named.items()]


def _progress(items: Sequence[Any]) -> Iterable[Any]:
    """With a bar where somebody watches many pictures and tqdm is there."""
    if len(items) < 2 or not sys.stderr.isatty():
        return items
    try:
        return bar(items, total=len(items), unit="image")
    except ImportError:
        return items


def _print(path: Path, *lines: str) -> None:
    print("\n  ".join([f"{path}", *lines]))
