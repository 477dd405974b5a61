"""The ``relprop`` command: explain, predict, info."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import relprop as rp
from relprop import images

_METHODS = ("lrp", "sensitivity", "gradient", "gradient_times_input")
_DEFAULT_RULE = "epsilon_alpha2_beta1_flat"


class _UsageError(Exception):
    """What the user got wrong, in one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: without the program's name; None: those of the process.

    Returns:
        0, or 2 after an error, which is one line on stderr.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        result: int = options.run(options)
    except (_UsageError, ValueError, TypeError, OSError, ImportError) as error:
        print(f"relprop: {error}", file=sys.stderr)
        return 2
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="relprop", description="Explain trained networks.")
    parser.add_argument("--version", action="version", version=f"relprop {rp.__version__}")
    parser.add_argument("--cmake-dir", action=_PrintPath, path="lib/cmake/relprop")
    parser.add_argument("--include-dir", action=_PrintPath, path="include")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    explain = commands.add_parser("explain", help="heatmap of what spoke for a class")
    _add_model_and_images(explain)
    explain.add_argument("--method", choices=_METHODS, default="lrp")
    explain.add_argument(
        "--rule", metavar="NAME", help=f"a composite or a rule (default: {_DEFAULT_RULE})"
    )
    explain.add_argument("--target", type=int, metavar="CLASS", help="default: the predicted class")
    explain.add_argument("-o", "--output", default="heat.png", metavar="PNG", type=Path)
    explain.add_argument(
        "--percentile", type=float, help="scale the colours to this percentile (default: largest)"
    )
    explain.set_defaults(run=_explain)

    predict = commands.add_parser("predict", help="the most probable classes")
    _add_model_and_images(predict)
    predict.add_argument("--top", type=int, default=5)
    predict.set_defaults(run=_predict)

    info = commands.add_parser("info", help="the layers of a model, or the build")
    info.add_argument("model", nargs="?", metavar="MODEL")
    info.add_argument("--size", type=int, nargs=2, metavar=("H", "W"))
    info.set_defaults(run=_info)
    return parser


class _PrintPath(argparse.Action):
    """Prints a path inside the installed package and exits."""

    def __init__(self, option_strings: Sequence[str], dest: str, path: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=f"print the path of {path}")
        self.path = path

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(Path(rp.__file__).parent / self.path)
        parser.exit()


def _add_model_and_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help='an ONNX file, or "digits"')
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    group = parser.add_argument_group(
        "input", "read from MODEL.json where that exists; these options go first"
    )
    group.add_argument("--size", type=int, nargs=2, metavar=("H", "W"))
    group.add_argument("--mean", type=float, nargs="+")
    group.add_argument("--std", type=float, nargs="+")
    group.add_argument("--range", type=int, choices=(1, 255), help="value of a white pixel")
    group.add_argument("--channels", choices=("RGB", "BGR", "L"))
    group.add_argument("--bgr", action="store_const", const="BGR", dest="channels")
    group.add_argument("--labels", type=Path, help="class names, one per line")
    parser.add_argument("--threads", type=int, metavar="N", help="default: all cores")


def _load_model(name: str) -> rp.Model:
    if name == "digits":
        return rp.zoo.digits()
    if not Path(name).is_file():
        msg = f"there is no model file {name}"
        raise _UsageError(msg)
    return rp.from_onnx(name)


def _input_spec(options: argparse.Namespace, model: rp.Model) -> images.InputSpec:
    json_path = images.spec_path(options.model)
    spec = images.InputSpec.from_json(json_path) if json_path else images.InputSpec()
    shape = model.input_shape
    if len(shape) != 3 or shape[0] not in (1, 3, None):
        msg = f"the model takes {shape}, not pictures of 1 or 3 channels"
        raise _UsageError(msg)
    if json_path is None and shape[0] == 1:
        spec = replace(spec, channels="L")
    if spec.size is None and shape[1] is not None and shape[2] is not None:
        spec = replace(spec, size=(shape[1], shape[2]))
    given = {
        "size": tuple(options.size) if options.size else None,
        "mean": tuple(options.mean) if options.mean else None,
        "std": tuple(options.std) if options.std else None,
        "range": options.range,
        "channels": options.channels,
        "labels": options.labels,
    }
    return replace(spec, **{key: value for key, value in given.items() if value is not None})


def _class_name(names: list[str] | None, index: int) -> str:
    return names[index] if names is not None and index < len(names) else f"class {index}"


def _top_classes(output: np.ndarray[Any, Any], names: list[str] | None, count: int) -> list[str]:
    """Lines for the largest outputs; probabilities by softmax where they are not ones already."""
    values = output.astype(np.float64)
    if np.all(values >= 0) and abs(values.sum() - 1) < 1e-3:
        probability = values
    else:
        probability = np.exp(values - values.max())
        probability /= probability.sum()
    order = np.argsort(-values, kind="stable")[:count]
    return [
        f"  {_class_name(names, int(k)):<32} p = {probability[k]:.4f}   f = {values[k]:.4f}"
        for k in order
    ]


def _progress(items: Sequence[Path]) -> Iterable[Path]:
    if len(items) < 2 or not sys.stderr.isatty():
        return items
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    bar: Iterable[Path] = tqdm(items, unit="image")
    return bar


def _predict(options: argparse.Namespace) -> int:
    model = _load_model(options.model)
    spec = _input_spec(options, model)
    names = spec.class_names()
    for path in _progress(options.images):
        x, _ = images.load_image(path, spec)
        output = model(x[None], n_threads=options.threads)[0]
        if output.ndim != 1:
            msg = f"predict needs one number per class; the output is {output.shape}"
            raise _UsageError(msg)
        print(path)
        print("\n".join(_top_classes(output, names, options.top)))
    return 0


def _method(options: argparse.Namespace, model: rp.Model, spec: images.InputSpec) -> Any:
    if options.rule is not None and options.method != "lrp":
        msg = f"--rule belongs to --method lrp, not {options.method}"
        raise _UsageError(msg)
    if options.method == "sensitivity":
        return rp.Sensitivity(model)
    if options.method == "gradient":
        return rp.Gradient(model)
    if options.method == "gradient_times_input":
        return rp.GradientTimesInput(model)
    return rp.LRP(model, _rule(options.rule or _DEFAULT_RULE, spec))


def _rule(name: str, spec: images.InputSpec) -> Any:
    simple = {
        "epsilon": rp.Epsilon,
        "z_plus": rp.ZPlus,
        "gamma": rp.Gamma,
        "w_square": rp.WSquare,
        "flat": rp.Flat,
    }
    if name in simple:
        return simple[name]()
    if name == "epsilon_gamma_box":
        mean, std = np.asarray(spec.mean), np.asarray(spec.std)
        low = np.broadcast_to((0 - mean) / std, spec.channel_count)
        high = np.broadcast_to((spec.range - mean) / std, spec.channel_count)
        shape = (spec.channel_count, 1, 1)
        return rp.composites.epsilon_gamma_box(
            low.astype(np.float32).reshape(shape), high.astype(np.float32).reshape(shape)
        )
    return name


def _explain(options: argparse.Namespace) -> int:
    model = _load_model(options.model)
    spec = _input_spec(options, model)
    method = _method(options, model, spec)
    names = spec.class_names()
    for path in _progress(options.images):
        x, shown = images.load_image(path, spec)
        heat, lines = _explain_one(options, model, method, x, names)
        target = options.output
        if len(options.images) > 1:
            target = target.with_name(f"{target.stem}_{path.stem}{target.suffix or '.png'}")
        over = target.with_name(f"{target.stem}_overlay{target.suffix or '.png'}")
        images.save_png(target, images.heatmap(heat, percentile=options.percentile))
        images.save_png(over, images.overlay(heat, shown, percentile=options.percentile))
        print(path)
        print("\n".join(lines))
        print(f"  wrote {target} and {over}")
    return 0


def _explain_one(
    options: argparse.Namespace, model: rp.Model, method: Any, x: Any, names: list[str] | None
) -> tuple[Any, list[str]]:
    """The heatmap of one picture and what to print about it."""
    output = model(x[None], n_threads=options.threads)[0]
    if output.ndim != 1:
        if options.target is not None:
            msg = f"--target needs one number per class; the output is {output.shape}"
            raise _UsageError(msg)
        relevance = method.attribute(x[None], start=output[None], n_threads=options.threads)[0]
        return relevance, [f"  all of the output {output.shape}, sum {output.sum():.4f}"]
    target = int(np.argmax(output)) if options.target is None else options.target
    relevance = method.attribute(x[None], target=target, n_threads=options.threads)[0]
    lines = [
        *_top_classes(output, names, 3),
        f"  explained: {_class_name(names, target)}; f = {output[target]:.4f}, "
        f"sum of the heatmap = {float(relevance.astype(np.float64).sum()):.4f}",
    ]
    return relevance, lines


def _info(options: argparse.Namespace) -> int:
    if options.model is None:
        for key, value in rp.info().items():
            print(f"{key:<16} {', '.join(value) if isinstance(value, list) else value}")
        return 0
    model = _load_model(options.model)
    print(model.summary(size=tuple(options.size) if options.size else None))
    return 0
