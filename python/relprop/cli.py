"""The ``relprop`` command: its options. What they do is in _commands.py."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import relprop
from relprop import _commands, _evaluate, _prototype
from relprop.maximization import RATES

RULES = (
    "a composite such as epsilon_plus_flat, or one rule for all layers: epsilon:0.01, z_plus, "
    f"alpha_beta:2,1, gamma:0.25, w_square, flat (default: {_commands.DEFAULT_RULE})"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: without the program's name; None: those of the process.

    Returns:
        0, or 2 after an error, which is one line on stderr.
    """
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
    except SystemExit as end:  # from --help and the like
        return int(end.code or 0)
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"relprop: {text}", file=sys.stderr)
        return 2
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (try '{self.prog} --help')")


class _PrintPath(argparse.Action):
    """Prints a path inside the installed package and exits."""

    def __init__(self, option_strings: Sequence[str], dest: str, path: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=f"print where {path} is and exit")
        self.path = path

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        path = Path(relprop.__file__).parent / self.path
        if not path.is_dir():
            raise FileNotFoundError(f"this installation has no {path}")
        print(path)
        sys.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="relprop", description="Explain trained networks.")
    parser.add_argument("--version", action="version", version=f"relprop {relprop.__version__}")
    parser.add_argument("--cmake-dir", action=_PrintPath, path="lib/cmake/relprop")
    parser.add_argument("--include-dir", action=_PrintPath, path="include")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_explain(commands.add_parser("explain", help="heatmaps of what counted for a class"))
    _add_predict(commands.add_parser("predict", help="the most probable classes"))
    _add_info(commands.add_parser("info", help="the layers of a model, or this build"))
    _add_evaluate(commands.add_parser("evaluate", help="how faithful explanations are"))
    _add_prototype(commands.add_parser("prototype", help="pictures of what a class looks like"))
    return parser


def _add_explain(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--rule", metavar="RULE", help=RULES)
    how.add_argument("--method", choices=_commands.METHODS, help="instead of relevance propagation")
    parser.add_argument(
        "--target",
        type=_integers,
        metavar="N",
        help="class, or position c,y,x of an output that is a map (default: the largest output)",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("heat.png"),
        metavar="PNG",
        help="heatmap (default: heat.png); the one over the image goes to heat_overlay.png, and "
        "several images to heat_NAME.png each",
    )
    parser.add_argument(
        "--percentile",
        type=float,
        default=99,
        metavar="P",
        help="of the absolute values that has full colour (default: 99)",
    )
    _add_input(parser)
    parser.set_defaults(run=_commands.explain)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument(
        "--top", type=int, default=5, metavar="N", help="classes shown (default: 5)"
    )
    _add_input(parser)
    parser.set_defaults(run=_commands.predict)


def _add_info(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, nargs="?")
    parser.add_argument("--rule", default=_commands.DEFAULT_RULE, metavar="RULE", help=RULES)
    parser.add_argument("--size", type=_size, metavar="H,W", help="of the input, if it is open")
    parser.set_defaults(run=_commands.info)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument(
        "data", type=Path, metavar="DATA", help=".npz with x and perhaps y, or a folder of pictures"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        default=_evaluate.METHODS,
        metavar="METHOD",
        help=f"{', '.join(_commands.METHODS)}, or {RULES.split(' (')[0]}",
    )
    parser.add_argument("--count", type=int, metavar="N", help="of samples (default: all)")
    parser.add_argument(
        "--target",
        choices=("predicted", "label"),
        default="predicted",
        help="the class that is explained and watched (default: predicted)",
    )
    parser.add_argument("--fraction", type=float, default=1.0, help="removed in the end")
    parser.add_argument("--regions", nargs="+", type=int, default=[1], metavar="SIDE")
    parser.add_argument(
        "--fills",
        nargs="+",
        default=["background"],
        metavar="FILL",
        help="background, mean, noise, blur or a number (default: background)",
    )
    parser.add_argument("--steps", type=int, default=20, help="points of a curve (default: 20)")
    parser.add_argument("--score", choices=("output", "probability"), default="output")
    parser.add_argument("--continuity", action="store_true", help="measure it as well")
    parser.add_argument("--seed", type=int, default=0, help="of ties, random order and noise")
    parser.add_argument("-o", "--out", type=Path, metavar="PNG", help="picture of the curves")
    _add_input(parser)
    parser.set_defaults(run=_evaluate.run)


def _add_prototype(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    what = parser.add_argument_group("what is made active")
    what.add_argument("--class", dest="classes", type=_ranges, metavar="N", help="3, 0,3 or 0-9")
    what.add_argument("--logit", action="store_true", help="the logit instead of log p")
    what.add_argument("--layer", metavar="NAME", help="a layer instead of a class")
    what.add_argument(
        "--channel", dest="channels_of_layer", type=_ranges, metavar="N", help="of the layer"
    )
    _add_prior(parser)
    how = parser.add_argument_group("ascent", "rates and noise are in units of a white pixel")
    how.add_argument("--steps", type=int, default=200, metavar="N", help="default: 200")
    how.add_argument("--restarts", type=int, default=4, metavar="N", help="default: 4")
    how.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    how.add_argument("--update", choices=RATES, default="adam", help="default: adam")
    how.add_argument("--rate", type=float, metavar="R", help="default: 0.05")
    how.add_argument("--noise", type=float, metavar="S", help="of the start (default: 0.1)")
    how.add_argument("--jitter", type=int, default=0, metavar="N", help="pixels rolled, at most")
    how.add_argument("--scaling", type=float, default=1, metavar="F", help="resized by up to F")
    how.add_argument("--blur", type=float, default=0, metavar="S", help="in pixels")
    how.add_argument("--blur-steps", type=int, default=4, metavar="N", help="between two blurs")
    parser.add_argument("-o", "--out", type=Path, default=Path("prototype.png"), metavar="PNG",
                        help="one picture, or a grid (default: prototype.png)")  # fmt: skip
    parser.add_argument("--zoom", type=int, metavar="N", help="pixels a side of each value")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    _add_input(parser)
    parser.set_defaults(run=_prototype.run)


def _add_prior(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("prior", "λ for pixels from 0 to 1")
    group.add_argument("--l2", type=float, metavar="λ", help="default: 0.001, 0 with --expert")
    group.add_argument("--tv", type=float, default=0, metavar="λ", help="total variation")
    group.add_argument("--expert", metavar="NPZ", help="a Gaussian RBM's parameters, or digits")
    group.add_argument(
        "--expert-weight", type=float, default=_prototype.EXPERT_WEIGHT, metavar="W",
        help="of its log-density (default: 0.015)",
    )  # fmt: skip
    group.add_argument("--generator", metavar="ONNX", help="from codes to pictures, or digits")
    group.add_argument(
        "--generator-range", type=_pair, default=(1.0, 0.0), metavar="SCALE,SHIFT",
        help="carry its pictures to [0, 1]: 0.5,0.5 for tanh (default: 1,0)",
    )  # fmt: skip
    group.add_argument(
        "--generator-picture", type=_integers, metavar="C,H,W",
        help="shape of its pictures, which are resized to the model's input",
    )  # fmt: skip


def _add_model(parser: argparse.ArgumentParser, **options: Any) -> None:
    parser.add_argument("model", metavar="MODEL", help="an ONNX file, or digits", **options)
    parser.add_argument("--output", metavar="NAME", help="output or layer (default: the first)")


def _add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, metavar="N", help="default: all cores")
    group = parser.add_argument_group(
        "input",
        "how pictures become input; default: what MODEL.json beside the model says "
        '({"size": [224, 224], "channels": "BGR", "range": 255, "mean": [104, 117, 124], '
        '"std": [1, 1, 1], "labels": "classes.txt"})',
    )
    group.add_argument("--size", type=_size, metavar="H,W", help="scaled to cover, then cropped")
    group.add_argument("--mean", type=_floats, metavar="M,M,M", help="subtracted; 1 or 3 numbers")
    group.add_argument("--std", "--scale", type=_floats, metavar="S,S,S", help="divided by")
    group.add_argument("--bgr", action="store_const", const="BGR", dest="channels")
    group.add_argument("--grey", action="store_const", const="L", dest="channels")
    group.add_argument("--input-range", type=int, choices=(1, 255), help="of a white pixel")
    group.add_argument("--labels", type=Path, metavar="FILE", help="class names, one per line")


def _floats(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _ranges(text: str) -> tuple[int, ...]:
    """0,3,5-7."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def _pair(text: str) -> tuple[float, float]:
    first, second = _floats(text)
    return first, second


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.replace("x", ",").partition(",")
    return int(height), int(width or height)
