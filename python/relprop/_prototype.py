"""What ``relprop prototype`` does."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from relprop import images, zoo
from relprop._commands import _class_name, _model, _spec
from relprop.code_space import CodeSpace
from relprop.experts import L2, Expert, GaussianRBM, Product, TotalVariation
from relprop.images import InputSpec
from relprop.maximization import ActivationMaximization, Prototypes
from relprop.model import Model, from_onnx
from relprop.objectives import Channel, Layer, Logit, LogProbability, Objective

# Of the expert's log-density, and of the noise in the start, which an expert needs more of: from a
# uniform grey all classes climb to the expert's own favourite.
EXPERT_WEIGHT = 0.015
EXPERT_NOISE = 0.5
COLUMNS = 10
SHOWN_SIZE = 96  # smaller pictures are enlarged to about this many pixels


def run(options: argparse.Namespace) -> None:
    """Writes a picture of the prototypes and says what the network thinks of them."""
    model = _model(options)
    spec = _spec(options, model)
    if spec.size is None:
        raise ValueError("the model leaves the size of its input open; give it with --size H,W")
    shape = (spec.channel_count, *spec.size)
    names = spec.class_names()
    targets = _targets(options)
    prior = _prior(options, spec)
    found = ActivationMaximization(model, prior).maximize(
        list(targets.values()),
        shape=shape,
        n_threads=options.threads,
        progress=sys.stderr.isatty() and not options.quiet,
        **_arguments(options, spec, code=isinstance(prior, CodeSpace)),
    )
    pictures = [_picture(x, spec, options.zoom) for x in found.prototypes]
    rows = [pictures[k : k + COLUMNS] for k in range(0, len(pictures), COLUMNS)]
    images.save_png(options.out, images.grid(rows))
    for k, text in enumerate(targets):
        label = _class_name(names, int(text)) if text.isdigit() else text
        print(_line(found, k, label))
    print(f"wrote {options.out}")


def _targets(options: argparse.Namespace) -> dict[str, Objective]:
    """What is asked for, by the text that is printed."""
    if options.layer is not None:
        if options.classes is not None:
            raise ValueError("--class and --layer exclude each other")
        if options.channels_of_layer is None:
            return {f"layer {options.layer}": Layer(options.layer)}
        return {
            f"layer {options.layer}, channel {channel}": Channel(options.layer, channel)
            for channel in options.channels_of_layer
        }
    if options.classes is None:
        raise ValueError("accepted: --class N, several as 0,3 or 0-9, or --layer NAME")
    make = Logit if options.logit else LogProbability
    return {str(target): make(target) for target in options.classes}


def _unit(spec: InputSpec) -> float:
    """What the difference of a white and a black pixel is for the model."""
    low, high = spec.bounds
    return float(np.mean(high - low))


def _prior(options: argparse.Namespace, spec: InputSpec) -> Expert | CodeSpace | None:
    """λ are those of pixels in [0, 1]: per squared difference of a white and a black pixel."""
    if options.generator is not None:
        if options.expert is not None:
            raise ValueError("--expert and --generator exclude each other")
        scale, shift = options.generator_range
        # From what the generator gives to [0, 1], then to what the model wants.
        low, high = spec.bounds
        return CodeSpace(
            _generator(options.generator),
            0.001 if options.l2 is None else options.l2,
            scale * (high - low),
            shift * (high - low) + low,
            options.generator_picture,
        )
    unit = _unit(spec)
    default = 0.001 if options.expert is None else 0.0
    lam = default if options.l2 is None else options.l2
    experts: list[Expert] = []
    weights: list[float] = []
    if options.expert is not None:
        shipped = options.expert == "digits"
        experts.append(zoo.digits_rbm() if shipped else GaussianRBM.load(options.expert))
        weights.append(options.expert_weight)
    if lam:
        experts.append(L2(lam / unit**2))
    if options.tv:
        experts.append(TotalVariation(options.tv / unit**2))
    weights += [1.0] * (len(experts) - len(weights))
    return Product(experts, weights) if experts else None


def _generator(name: str) -> Model:
    return zoo.digits_decoder() if name == "digits" else from_onnx(name)


def _arguments(options: argparse.Namespace, spec: InputSpec, *, code: bool) -> dict[str, Any]:
    names = ("steps", "restarts", "seed", "update", "jitter", "scaling", "blur", "blur_steps")
    given = {name: getattr(options, name) for name in names}
    unit = 1.0 if code else _unit(spec)
    if options.rate is not None:
        given["rate"] = options.rate * unit
    elif options.update in ("adam", "normalized"):
        given["rate"] = 0.05 * unit
    noise = options.noise
    if noise is None and options.expert is not None:
        noise = EXPERT_NOISE
    if noise is not None or not code:
        given["noise"] = (0.1 if noise is None else noise) * unit
    if not code:
        given["box"] = spec.bounds
    return given


def _picture(x: npt.NDArray[np.float32], spec: InputSpec, zoom: int | None) -> images.Pixels:
    """A model's input as a picture."""
    pixels = spec.pixels(x)
    if zoom is None:
        zoom = max(1, SHOWN_SIZE // pixels.shape[0])
    return images.enlarge(pixels, zoom)


def _line(found: Prototypes, k: int, label: str) -> str:
    total = found.history["total"][k]
    end = np.flatnonzero(~np.isnan(total))[-1] if np.isfinite(total).any() else 0
    terms = [f"{name} = {values[k, end]:.4f}" for name, values in found.history.items()]
    p = found.probability[k]
    probability = "" if np.isnan(p) else f"p = {p:.4f}   "
    return (
        f"{label:<32} {probability}{'   '.join(terms[:-1])}   restart {found.restart[k]}, "
        f"{found.stopped[k]}"
    )
