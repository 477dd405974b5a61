"""Bad arguments, each with the exact exception: what came, what is accepted, before any work."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import relprop as rp
from relprop.functional import conv2d, conv2d_relevance, dense, dense_gradient, dense_relevance
from small import image_net, inputs, map_net, softmax_net, values, vector_core, vector_net

Call = Callable[[], Any]
Row = tuple[str, Call, type[Exception], str]

NET = vector_net()
IMAGE = image_net()
MAP = map_net()
X = inputs(NET, 2)
PICTURES = inputs(IMAGE, 2)
MAPS = inputs(MAP, 2)
LRP = rp.LRP(NET)
NAN = float("nan")

ACCEPTED = "accepted: a float32 NumPy array or CPU torch tensor"
TARGETS = "accepted: None (the largest output), an int, one int per sample or an (N, T) array"


def changed(value: float) -> Any:
    x = X.copy()
    x[1, 2] = value
    return x


ARRAYS: list[Row] = [
    ("list", lambda: NET([[1.0, 2, 3, 4]]), TypeError,
     f"x is of type list; {ACCEPTED}; convert it: np.asarray(x, np.float32)"),
    ("tuple", lambda: LRP.attribute(((1.0,) * 4,)), TypeError,
     f"x is of type tuple; {ACCEPTED}; convert it: np.asarray(x, np.float32)"),
    ("None", lambda: NET(None), TypeError, f"x is of type NoneType; {ACCEPTED}"),
    ("number", lambda: NET(np.float32(1)), TypeError, f"x is of type float32; {ACCEPTED}"),
    ("path", lambda: NET("x.npy"), TypeError, f"x is of type str; {ACCEPTED}"),
    ("float64", lambda: LRP.attribute(X.astype(float)), TypeError,
     "x has dtype float64; accepted: float32. Pass cast=True to have it rounded to float32"),
    ("float16", lambda: NET(X.astype(np.float16)), TypeError,
     "x has dtype float16; accepted: float32. Pass cast=True to have it rounded to float32"),
    ("float64 tensor", lambda: NET(torch.zeros(1, 4, dtype=torch.float64)), TypeError,
     "x has dtype float64; accepted: float32. Pass cast=True to have it rounded to float32"),
    ("bfloat16 tensor", lambda: NET(torch.zeros(1, 4, dtype=torch.bfloat16), cast=True), TypeError,
     "x has dtype torch.bfloat16; accepted: torch.float32"),
    *[
        (f"{dtype} with cast={cast}",
         lambda dtype=dtype, cast=cast: NET(np.ones((1, 4), dtype), cast=cast), TypeError,
         f"x has dtype {np.dtype(dtype)}; accepted: float32. "
         "Bring it to the range that the model expects first")
        for dtype in ("uint8", "int64", "bool", "complex64", "object")
        for cast in (False, True)
    ],
    ("NaN", lambda: NET(changed(NAN)), ValueError,
     "x has NaN or infinite values; accepted: finite values"),
    ("infinity", lambda: LRP.attribute(changed(-np.inf)), ValueError,
     "x has NaN or infinite values; accepted: finite values"),
    ("NaN in a tensor", lambda: rp.Sensitivity(NET).attribute(torch.tensor(changed(NAN))),
     ValueError, "x has NaN or infinite values; accepted: finite values"),
    ("masked array", lambda: NET(np.ma.masked_array(X)), TypeError,
     f"x is a masked array, whose mask would be lost; {ACCEPTED}"),
    ("meta tensor", lambda: NET(torch.zeros(1, 4, device="meta")), ValueError,
     "x is on device 'meta'; accepted: the CPU, x.cpu()"),
    ("sparse tensor", lambda: NET(torch.zeros(1, 4).to_sparse()), ValueError,
     "x has layout torch.sparse_coo; accepted: dense tensors"),
    ("no batch", lambda: NET(X[0]), ValueError,
     "input 'features': x has shape (4,); accepted: (N, 4); a batch dimension is missing, as in "
     "x[None]"),
    ("no batch of images", lambda: rp.Gradient(IMAGE).attribute(PICTURES[0]), ValueError,
     "input 'image': x has shape (2, 6, 6); accepted: (N, 2, 6, 6); a batch dimension is missing, "
     "as in x[None]"),
    ("channels last", lambda: IMAGE(values(1, 1, 6, 6, 2)), ValueError,
     "input 'image': x has shape (1, 6, 6, 2); accepted: (N, 2, 6, 6)"),
    ("other size", lambda: LRP.conservation(values(1, 2, 5)), ValueError,
     "input 'features': x has shape (2, 5); accepted: (N, 4)"),
    ("rank too high", lambda: NET(values(1, 2, 4, 1)), ValueError,
     "input 'features': x has shape (2, 4, 1); accepted: (N, 4)"),
    ("scalar", lambda: NET(np.array(1, np.float32)), ValueError,
     "input 'features': x has shape (); accepted: (N, 4)"),
]  # fmt: skip

LABEL = "output 'logits': target"
MAP_TARGETS = (
    "accepted: a position as a tuple of 3 ints, one such tuple per sample, or "
    "start= an array of shape (2, 2, 4, 4)"
)
ANY: list[Row] = [
    ("bool", lambda: LRP.attribute(X, True), TypeError, f"{LABEL} is of type bool; {TARGETS}"),
    ("bools", lambda: LRP.attribute(X, [True, 2]), TypeError, f"{LABEL} holds bools; {TARGETS}"),
    ("bool array", lambda: LRP.attribute(X, np.array([True, False])), TypeError,
     f"{LABEL} is of type bool; {TARGETS}"),
    ("float", lambda: rp.Gradient(NET).attribute(X, 1.0), TypeError,
     f"{LABEL} is of type float; {TARGETS}"),
    ("floats", lambda: LRP.attribute(X, [0.0, 1.0]), TypeError,
     f"{LABEL} is of type float64; {TARGETS}"),
    ("float tensor", lambda: LRP.attribute(X, torch.zeros(2)), TypeError,
     f"{LABEL} is of type float32; {TARGETS}"),
    ("name", lambda: LRP.attribute(X, "cat"), TypeError, f"{LABEL} is of type str; {TARGETS}"),
    ("a None inside", lambda: LRP.attribute(X, [0, None]), TypeError,
     f"{LABEL} is of type object; {TARGETS}"),
    ("too large", lambda: LRP.attribute(X, 3), ValueError, f"{LABEL} = 3; accepted: 0 to 2"),
    ("negative", lambda: LRP.attribute(X, -1), ValueError, f"{LABEL} = -1; accepted: 0 to 2"),
    ("one of many", lambda: LRP.attribute(X, [0, 7]), ValueError,
     f"{LABEL} = 7; accepted: 0 to 2"),
    ("beyond int64", lambda: LRP.attribute(X, np.uint64([0, 2**63])), ValueError,
     f"{LABEL} = 9223372036854775808; accepted: 0 to 2"),
    ("too few", lambda: LRP.attribute(X, [0]), ValueError,
     f"{LABEL} has shape (1,) for 2 samples; accepted: an int, (2,), or (2, T) for T targets per "
     "sample"),
    ("too many", lambda: rp.Sensitivity(NET).attribute(X, [0, 1, 2]), ValueError,
     f"{LABEL} has shape (3,) for 2 samples; "),
    ("(T, N)", lambda: LRP.attribute(X, np.zeros((3, 2), int)), ValueError,
     f"{LABEL} has shape (3, 2) for 2 samples; "),
    ("rank 3", lambda: LRP.attribute(X, np.zeros((2, 1, 1), int)), ValueError,
     f"{LABEL} has shape (2, 1, 1) for 2 samples; "),
    ("no target", lambda: LRP.attribute(X, np.zeros((2, 0), int)), ValueError,
     f"{LABEL} has shape (2, 0) for 2 samples; "),
    ("ragged", lambda: LRP.attribute(X, [[0, 1], [2]]), ValueError,
     f"{LABEL} is not rectangular; {TARGETS}"),
    ("int for a map", lambda: rp.LRP(MAP).attribute(MAPS, 1), ValueError,
     f"output 'map' has shape (2, 4, 4) per sample: target has shape (); {MAP_TARGETS}"),
    ("ints for a map", lambda: rp.LRP(MAP).attribute(MAPS, [1, 1]), ValueError,
     f"output 'map' has shape (2, 4, 4) per sample: target has shape (2,); {MAP_TARGETS}"),
    ("None for a map", lambda: rp.LRP(MAP).attribute(MAPS), ValueError,
     f"output 'map' has shape (2, 4, 4) per sample, not classes; {MAP_TARGETS}"),
    ("position out of range", lambda: rp.LRP(MAP).attribute(MAPS, (1, 4, 0)), ValueError,
     "output 'map': target on axis 1 = 4; accepted: 0 to 3"),
    ("negative position", lambda: rp.LRP(MAP).attribute(MAPS, [(0, 0, 0), (-1, 0, 0)]), ValueError,
     "output 'map': target on axis 0 = -1; accepted: 0 to 1"),
    ("too few positions", lambda: rp.LRP(MAP).attribute(MAPS, [(0, 0, 0)]), ValueError,
     f"output 'map' has shape (2, 4, 4) per sample: target has shape (1, 3); {MAP_TARGETS}"),
    ("float position", lambda: rp.LRP(MAP).attribute(MAPS, (0, 1.0, 2)), TypeError,
     f"output 'map': target is of type float64; {MAP_TARGETS}"),
    ("unknown start", lambda: LRP.attribute(X, 1, "ones"), ValueError,
     "start = 'ones'; accepted: 'output', 'one' or an array"),
    ("log_prob is of the gradient", lambda: LRP.attribute(X, 1, "log_prob"), ValueError,
     "start = 'log_prob'; accepted: 'output', 'one' or an array"),
    ("output as gradient start", lambda: rp.Gradient(NET).attribute(X, 1, "output"), ValueError,
     "start = 'output'; accepted: 'one' or an array"),
    ("target and start", lambda: LRP.attribute(X, 1, values(1, 2, 3)), ValueError,
     "target and an array as start exclude each other: start says it all"),
    ("start of another shape", lambda: LRP.attribute(X, start=values(1, 2, 4)), ValueError,
     "output 'logits': start has shape (2, 4); accepted: (2, 3), or (2, T, 3) for T starts per "
     "sample"),
    ("start without batch", lambda: LRP.attribute(X, start=values(1, 3)), ValueError,
     "output 'logits': start has shape (3,); accepted: (2, 3), or (2, T, 3)"),
    ("start for another batch", lambda: LRP.attribute(X, start=values(1, 1, 3)), ValueError,
     "output 'logits': start has shape (1, 3); accepted: (2, 3), or (2, T, 3)"),
    ("start of rank 4", lambda: LRP.attribute(X, start=values(1, 2, 1, 1, 3)), ValueError,
     "output 'logits': start has shape (2, 1, 1, 3); accepted: (2, 3), or (2, T, 3)"),
    ("no start", lambda: LRP.attribute(X, start=np.zeros((2, 0, 3), np.float32)), ValueError,
     "start has shape (2, 0, 3); accepted: at least one per sample"),
    ("float64 start", lambda: LRP.attribute(X, start=np.ones((2, 3))), TypeError,
     "start has dtype float64; accepted: float32. Pass cast=True to have it rounded to float32"),
    ("NaN start", lambda: LRP.attribute(X, start=np.full((2, 3), NAN, "f4")), ValueError,
     "start has NaN or infinite values; accepted: finite values"),
    ("start None", lambda: LRP.attribute(X, start=None), TypeError,
     f"start is of type NoneType; {ACCEPTED}"),
]  # fmt: skip

NEAR = "near names: "
OPTIONS: list[Row] = [
    ("unknown layer", lambda: LRP.attribute(X, return_layers=["block.hiden"]), ValueError,
     "no layer or output is called 'block.hiden'; near names: 'block.hidden'"),
    ("layer beside the output", lambda: LRP.attribute(X, return_layers=["unused"]), ValueError,
     "layer 'unused': output 'logits' does not depend on it"),
    ("one name", lambda: LRP.attribute(X, return_layers="logits"), TypeError,
     "return_layers = 'logits'; accepted: True, False or a list of names"),
    ("layers None", lambda: LRP.attribute(X, return_layers=None), TypeError,
     "return_layers = None; accepted: True, False or a list of names"),
    ("mask on unknown layer", lambda: LRP.attribute(X, mask={"blok.relu": 0}), ValueError,
     "no layer or output is called 'blok.relu'; near names: 'block.relu'"),
    ("mask beside the output", lambda: LRP.attribute(X, mask={"unused": 0}), ValueError,
     "layer 'unused': output 'logits' does not depend on it"),
    ("mask of another shape", lambda: LRP.attribute(X, mask={"block.relu": np.ones(4)}), ValueError,
     "mask of layer 'block.relu' has shape (4,); accepted: what broadcasts to the layer's output "
     "(5) or, one per sample, to (2, 5)"),
    ("mask for another batch", lambda: LRP.attribute(X, mask={"logits": np.ones((3, 3))}),
     ValueError, "mask of layer 'logits' has shape (3, 3); accepted: what broadcasts to the "
     "layer's output (3) or, one per sample, to (2, 3)"),
    ("mask of high rank", lambda: LRP.attribute(X, mask={"logits": np.ones((1, 1, 3))}),
     ValueError, "mask of layer 'logits' has shape (1, 1, 3); "),
    ("complex mask", lambda: LRP.attribute(X, mask={"logits": 1j}), TypeError,
     "mask of layer 'logits' has dtype complex128; accepted: bool, integers or floats"),
    ("NaN mask", lambda: LRP.attribute(X, mask={"logits": NAN}), ValueError,
     "mask of layer 'logits' has NaN or infinite values; accepted: finite values"),
    ("mask list", lambda: LRP.attribute(X, mask=[np.ones(5)]), TypeError,
     "mask is of type list; accepted: a mapping from layer name to array"),
    ("no threads", lambda: NET(X, n_threads=0), ValueError,
     "n_threads = 0; accepted: 1 or more, or None"),
    ("negative threads", lambda: LRP.attribute(X, n_threads=-2), ValueError,
     "n_threads = -2; accepted: 1 or more, or None"),
    ("threads as float", lambda: LRP.conservation(X, n_threads=2.0), TypeError,
     "n_threads is of type float; accepted: an int or None"),
    ("no samples", lambda: NET.for_batches_of(0), ValueError,
     "samples = 0; accepted: 1 or more"),
    ("samples as float", lambda: NET.for_batches_of(64.0), TypeError,
     "samples is of type float; accepted: an int"),
    ("threads as bool", lambda: NET(X, n_threads=True), TypeError,
     "n_threads is of type bool; accepted: an int or None"),
    ("no model", lambda: rp.LRP(lambda x: x), TypeError,
     "model is of type function; accepted: a relprop.Model"),
    ("class of model", lambda: rp.Gradient(rp.Model), TypeError,
     "model is of type type; accepted: a relprop.Model"),
    ("of", lambda: rp.Gradient(NET, of="prob"), ValueError,
     "of = 'prob'; accepted: 'logit' or 'log_prob'"),
    ("unknown output", lambda: rp.Model(vector_core(), "logit"), ValueError,
     "no layer or output is called 'logit'; near names: 'logits'"),
    ("isa", lambda: rp.LRP(vector_net()).attribute(X), ValueError,
     "RELPROP_ISA=sse9 cannot run here; available: reference, baseline"),
]  # fmt: skip

RULES: list[Row] = [
    ("alpha - beta", lambda: rp.AlphaBeta(1, 1), ValueError,
     "AlphaBeta: alpha = 1, beta = 1; accepted: alpha - beta = 1, such as (1, 0) or (2, 1)"),
    ("beta", lambda: rp.AlphaBeta(0.5, -0.5), ValueError,
     "AlphaBeta: beta = -0.5; accepted: a finite number >= 0"),
    ("NaN alpha", lambda: rp.AlphaBeta(NAN, 0), ValueError,
     "AlphaBeta: alpha = nan; accepted: a finite number >= 0"),
    ("infinite", lambda: rp.AlphaBeta(np.inf, np.inf), ValueError,
     "AlphaBeta: alpha = inf; accepted: a finite number >= 0"),
    ("beyond float32", lambda: rp.Gamma(1e39), ValueError,
     "Gamma: gamma = 1e+39; accepted: a finite number >= 0"),
    ("negative gamma", lambda: rp.Gamma(-0.1), ValueError,
     "Gamma: gamma = -0.1; accepted: a finite number >= 0"),
    ("negative epsilon", lambda: rp.Epsilon(-1e-6), ValueError,
     "Epsilon: epsilon = -1e-06; accepted: a finite number >= 0"),
    ("NaN stabilizer", lambda: rp.ZPlus(stabilizer=NAN), ValueError,
     "ZPlus: stabilizer = nan; accepted: a finite number >= 0"),
    ("text", lambda: rp.Epsilon("small"), TypeError,
     "Epsilon: epsilon = 'small'; accepted: a number"),
    ("bool as number", lambda: rp.Gamma(True), TypeError,
     "Gamma: gamma = True; accepted: a number"),
    ("bias", lambda: rp.Flat(bias="zero"), ValueError,
     "Flat: bias = 'zero'; accepted: 'absorb' or 'ignore'"),
    ("box upside down", lambda: rp.ZBox(1, 0), ValueError,
     "ZBox: low is above high; accepted: low <= high everywhere"),
    ("box upside down at one place", lambda: rp.ZBox([0.0, 2.0], 1), ValueError,
     "ZBox: low is above high; accepted: low <= high everywhere"),
    ("box of two shapes", lambda: rp.ZBox(np.zeros(2), np.ones(3)), ValueError,
     "ZBox: low has shape (2,), high (3,); accepted: shapes that broadcast"),
    ("infinite box", lambda: rp.ZBox(-np.inf, 1), ValueError,
     "ZBox: low has NaN or infinite values; accepted: finite values"),
    ("box of text", lambda: rp.ZBox("a", "b"), TypeError,
     "ZBox: low is 'a'; accepted: a number or an array of numbers"),
    ("box for another input", lambda: rp.LRP(NET, rp.ZBox(np.zeros(3), 1)).attribute(X), ValueError,
     "layer 'block.hidden': ZBox low has shape (3,); accepted: a number or what broadcasts to the "
     "layer's input (4,), such as (4,) for one per channel"),
    ("box per channel", lambda: rp.LRP(IMAGE, rp.Composite(first=rp.ZBox(np.zeros(2), 1)))
     .attribute(PICTURES), ValueError,
     "layer 'stem.conv': ZBox low has shape (2,); accepted: a number or what broadcasts to the "
     "layer's input (2, 6, 6), such as (2, 1, 1) for one per channel"),
    ("box per sample", lambda: rp.LRP(NET, rp.ZBox(np.zeros((2, 4)), 1)).attribute(X), ValueError,
     "layer 'block.hidden': ZBox low has shape (2, 4); "),
    ("pass", lambda: rp.LRP(NET, rp.Pass()).attribute(X), ValueError,
     "layer 'block.hidden': rule pass needs as many outputs as inputs; got 4 inputs and 5 outputs"),
    ("rule class", lambda: rp.LRP(NET, rp.ZPlus), TypeError,
     "rule is the class ZPlus; accepted: ZPlus(...)"),
    ("no rule", lambda: rp.LRP(NET, 0.25), TypeError,
     "rule is 0.25; accepted: a rule such as Epsilon()"),
    ("unknown composite", lambda: rp.LRP(NET, "epsilon_plus_flt"), ValueError,
     "no composite is called 'epsilon_plus_flt'; near names: 'epsilon_plus_flat', 'epsilon_plus'"),
    ("box composite by name", lambda: rp.LRP(NET, "epsilon_gamma_box"), ValueError,
     "composite 'epsilon_gamma_box' needs the bounds of the input: "
     "relprop.composites.epsilon_gamma_box(low, high)"),
    ("composite of no rule", lambda: rp.Composite(first="flat"), TypeError,
     "Composite: first is 'flat'; accepted: a rule such as Epsilon()"),
    ("composite of a class", lambda: rp.Composite(conv=rp.Flat), TypeError,
     "Composite: conv is the class Flat; accepted: Flat(...)"),
    ("names of no rule", lambda: rp.Composite(names={"fire9": 1}), TypeError,
     "Composite: names['fire9'] is 1; accepted: a rule such as Epsilon()"),
    ("names as list", lambda: rp.Composite(names=[("a", rp.Flat())]), TypeError,
     "Composite: names is a list; accepted: a mapping from name to rule"),
    ("norm of another rule", lambda: rp.Composite(norm=rp.Flat()), TypeError,
     "Composite: norm is Flat(bias='absorb', stabilizer=1e-06); accepted: Norm(...)"),
    ("unknown name", lambda: rp.LRP(NET, rp.Composite(names={"block.hiden": rp.Flat()}))
     .attribute(X), ValueError,
     "names: no layer is called 'block.hiden'; near names: 'block.hidden'"),
    ("name beside the output", lambda: rp.LRP(NET, rp.Composite(names={"unused": rp.Flat()}))
     .attribute(X), ValueError, "names: no layer is called 'unused'; near names: "),
    ("empty name", lambda: rp.LRP(NET, rp.Composite(names={"": rp.Flat()})).attribute(X),
     ValueError, "names: no layer is called ''; near names: "),
    ("name of an activation", lambda: rp.LRP(NET, rp.Composite(names={"block.relu": rp.Flat()}))
     .attribute(X), ValueError,
     "names: 'block.relu' fits 'block.relu' (relu), which Flat does not apply to; accepted: conv, "
     "conv_transpose, dense, batch_norm, with Norm adaptive_average_pool, add, average_pool, "
     "resample, with Norm or Pass layer_norm"),
    ("layer norm of another rule", lambda: rp.Composite(layer_norm=rp.Flat()), TypeError,
     "Composite: layer_norm is Flat(bias='absorb', stabilizer=1e-06); accepted: Norm(...) or "
     "Pass(...)"),
    ("unknown treatment of gates", lambda: rp.Composite(gate="half"), ValueError,
     "Composite: gate is 'half'; accepted: 'constant' and 'split'"),
    ("flat pooling", lambda: rp.LRP(IMAGE, rp.Composite(names={"pool": rp.Flat()}))
     .attribute(PICTURES), ValueError,
     "names: 'pool' fits 'pool' (average_pool), which Flat does not apply to; "),
]  # fmt: skip

W, B, R = values(1, 3, 4), values(2, 3), values(3, 2, 3)
K, P = values(4, 3, 2, 3, 3), values(5, 2, 3, 4, 4)
FUNCTIONAL: list[Row] = [
    ("weight of another input", lambda: dense(X, W[:, :3]), ValueError,
     "layer 'dense' (dense): "),
    ("weight of rank 1", lambda: dense(X, W[0]), ValueError,
     "w has shape (4,); accepted: (out, in)"),
    ("input of rank 3", lambda: dense(X[None], W), ValueError,
     "x has shape (1, 2, 4); accepted: (N, in)"),
    ("bias of another length", lambda: dense(X, W, B[:2]), ValueError,
     "layer 'dense' (dense): bias has shape (2,); accepted: (3,)"),
    ("float64 weight", lambda: dense(X, W.astype(float)), TypeError,
     "w has dtype float64; accepted: float32. Pass cast=True"),
    ("NaN weight", lambda: dense(X, W * np.float32(NAN)), ValueError,
     "w has NaN or infinite values; accepted: finite values"),
    ("list weight", lambda: dense(X, W.tolist()), TypeError, f"w is of type list; {ACCEPTED}"),
    ("r of another shape", lambda: dense_relevance(X, W, B, R[:, :2], rp.ZPlus()), ValueError,
     "r has shape (2, 2); accepted: (2, 3), as the output"),
    ("r of another batch", lambda: dense_gradient(X, W, B, R[:1]), ValueError,
     "r has shape (1, 3); accepted: (2, 3), as the output"),
    ("rule by name", lambda: dense_relevance(X, W, B, R, "epsilon"), TypeError,
     "rule is 'epsilon'; accepted: a rule such as Epsilon()"),
    ("box for another input", lambda: dense_relevance(X, W, B, R, rp.ZBox(np.zeros(3), 1)),
     ValueError, "layer 'x': ZBox low has shape (3,); accepted: a number or what broadcasts"),
    ("image of rank 3", lambda: conv2d(PICTURES[0], K), ValueError,
     "x has shape (2, 6, 6); accepted: (N, C, H, W)"),
    ("kernel for other channels", lambda: conv2d(PICTURES[:, :1], K), ValueError,
     "layer 'conv2d' (conv): "),
    ("kernel over the image", lambda: conv2d(PICTURES[:, :, :2], K), ValueError,
     "layer 'conv2d' (conv): "),
    ("three strides", lambda: conv2d(PICTURES, K, stride=(1, 1, 1)), ValueError,
     "stride = (1, 1, 1); accepted: an int or a pair (y, x)"),
    ("no stride", lambda: conv2d(PICTURES, K, stride=0), ValueError,
     "stride = 0; accepted: 1 or more"),
    ("negative padding", lambda: conv2d(PICTURES, K, padding=(0, -1)), ValueError,
     "padding = -1; accepted: 0 or more"),
    ("padding by name", lambda: conv2d(PICTURES, K, padding="same"), TypeError,
     "padding = 'same'; accepted: an int or a pair (y, x)"),
    ("float dilation", lambda: conv2d(PICTURES, K, dilation=1.0), TypeError,
     "dilation = 1.0; accepted: an int or a pair (y, x)"),
    ("groups", lambda: conv2d(PICTURES, K, groups=0), ValueError,
     "groups = 0; accepted: 1 or more"),
    ("groups that do not divide", lambda: conv2d(PICTURES, K[:, :1], groups=2), ValueError,
     "layer 'conv2d' (conv): "),
    ("r of another size", lambda: conv2d_relevance(PICTURES, K, B, P, rp.ZPlus(), padding=1),
     ValueError, "r has shape (2, 3, 4, 4); accepted: (2, 3, 6, 6), as the output"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "exception", "message"),
    [
        pytest.param(*row[1:], id=f"{table}-{row[0]}")
        for table, rows in {
            "array": ARRAYS,
            "target": ANY,
            "option": OPTIONS,
            "rule": RULES,
            "functional": FUNCTIONAL,
        }.items()
        for row in rows
    ],
)
def test_refused(
    call: Call,
    exception: type[Exception],
    message: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if request.node.callspec.id == "option-isa":
        monkeypatch.setenv("RELPROP_ISA", "sse9")
    with pytest.raises(exception, match=f"^{re.escape(message)}") as error:
        call()
    assert type(error.value) is exception


def test_cuda_tensors_are_refused() -> None:
    """Where there is no GPU, a stand-in that says it is on one."""

    class OnGpu(torch.Tensor):
        device = torch.device("cuda:0")  # type: ignore[assignment]

    tensor = torch.zeros(1, 4).as_subclass(OnGpu)
    with pytest.raises(ValueError, match=r"^x is on device 'cuda:0'; accepted: the CPU, x.cpu\(\)"):
        NET(tensor)


def test_softmax_has_classes_too() -> None:
    with pytest.raises(ValueError, match=r"^output 'probabilities': target = 3; accepted: 0 to 2"):
        rp.LRP(softmax_net()).attribute(X, 3)


def test_a_refused_call_leaves_the_model_usable() -> None:
    before = LRP.attribute(X, 1)
    for rows in (ARRAYS, ANY):
        for _, call, exception, _ in rows:
            with pytest.raises(exception):
                call()
    assert np.array_equal(LRP.attribute(X, 1), before)
