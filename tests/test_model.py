"""The model builder: shapes it infers, mistakes it refuses and the words it refuses them with."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from relprop import _core
from relprop._core import Model, UnsupportedError

FloatArray = npt.NDArray[np.float32]
LIMIT = 2**40


def zeros(*shape: int) -> FloatArray:
    return np.zeros(shape, np.float32)


def with_value(value: float, *shape: int) -> FloatArray:
    array = zeros(*shape)
    array.reshape(-1)[-1] = value
    return array


def image() -> Model:
    return Model((3, 8, 6))


def signal() -> Model:
    return Model((4, 9))


def vector() -> Model:
    return Model((5,))


def with_softmax() -> Model:
    model = vector()
    model.add_softmax("p", 0, 0)
    return model


def two_shapes() -> Model:
    """Node 0 is (3, 8, 6), node 1 is (3, 4, 3)."""
    model = image()
    model.add_max_pool("half", 0, kernel=(2, 2), stride=(2, 2))
    return model


Case = tuple[str, Callable[[], Model], Callable[[Model], Any], type[Exception], str]

# id, model, call, exception, the message (all of it, or its start where it ends in "...")
ERRORS: list[Case] = [
    (
        "empty name",
        image,
        lambda m: m.add_identity("", 0),
        ValueError,
        "layer '' (identity): empty name",
    ),
    (
        "name taken",
        image,
        lambda m: m.add_identity("input", 0),
        ValueError,
        "layer 'input' (identity): the name is taken; accepted: unique names",
    ),
    (
        "forward reference",
        image,
        lambda m: m.add_identity("a", 1),
        ValueError,
        "layer 'a' (identity): input node 1; accepted: indices of earlier nodes, 0 to 0",
    ),
    (
        "negative index",
        image,
        lambda m: m.add_identity("a", -1),
        ValueError,
        "layer 'a' (identity): input node -1; accepted: indices of earlier nodes, 0 to 0",
    ),
    (
        "input without axes",
        image,
        lambda m: Model(()),
        ValueError,
        "input 'input': empty shape; accepted: at least one axis",
    ),
    (
        "input of size zero",
        image,
        lambda m: Model((3, 0)),
        ValueError,
        "input 'input': shape (3, 0); accepted: sizes of 1 or more",
    ),
    (
        "input that overflows",
        image,
        lambda m: Model((2**62, 4, 4)),
        ValueError,
        f"input 'input': shape ({2**62}, 4, 4) has more than {LIMIT} values",
    ),
    (
        "input without a name",
        image,
        lambda m: Model((3,), ""),
        ValueError,
        "the model's input has an empty name",
    ),
    (
        "dense of other width",
        vector,
        lambda m: m.add_dense("d", 0, zeros(2, 4)),
        ValueError,
        "layer 'd' (dense): the weight takes 4 features, the input has shape (5,); accepted: a "
        "last axis of 4",
    ),
    (
        "dense weight of one axis",
        vector,
        lambda m: m.add_dense("d", 0, zeros(5)),
        ValueError,
        "layer 'd' (dense): weight has shape (5,); accepted: (out, in)",
    ),
    (
        "dense bias of other length",
        vector,
        lambda m: m.add_dense("d", 0, zeros(2, 5), zeros(3)),
        ValueError,
        "layer 'd' (dense): bias has shape (3,); accepted: (2,)",
    ),
    (
        "dense without outputs",
        vector,
        lambda m: m.add_dense("d", 0, zeros(0, 5)),
        ValueError,
        f"layer 'd' (dense): out = 0; accepted: 1 to {LIMIT}",
    ),
    (
        "float64 weight",
        vector,
        lambda m: m.add_dense("d", 0, np.zeros((2, 5))),
        TypeError,
        "layer 'd' (dense): weight has dtype float64; accepted: a C-contiguous float32 array",
    ),
    (
        "byte-swapped weight",
        vector,
        lambda m: m.add_dense("d", 0, np.zeros((2, 5), ">f4")),
        TypeError,
        "layer 'd' (dense): weight has dtype >f4; accepted: a C-contiguous float32 array",
    ),
    (
        "transposed weight",
        vector,
        lambda m: m.add_dense("d", 0, zeros(5, 2).T),
        ValueError,
        "layer 'd' (dense): weight of shape (2, 5) is not contiguous; accepted: a C-contiguous "
        "float32 array",
    ),
    (
        "list as weight",
        vector,
        lambda m: m.add_dense("d", 0, [[1.0] * 5]),
        TypeError,
        "layer 'd' (dense): weight is of type list; accepted: a C-contiguous float32 array",
    ),
    (
        "NaN weight",
        vector,
        lambda m: m.add_dense("d", 0, with_value(np.nan, 2, 5)),
        ValueError,
        "layer 'd' (dense): weight is nan at index 9; accepted: finite numbers",
    ),
    (
        "infinite bias",
        vector,
        lambda m: m.add_dense("d", 0, zeros(2, 5), with_value(-np.inf, 2)),
        ValueError,
        "layer 'd' (dense): bias is -inf at index 1; accepted: finite numbers",
    ),
    (
        "convolution of other channels",
        image,
        lambda m: m.add_conv("c", 0, zeros(4, 2, 3, 3)),
        ValueError,
        "layer 'c' (conv): the weight takes 2 channels, the input has shape (3, 8, 6)",
    ),
    (
        "groups that do not divide",
        image,
        lambda m: m.add_conv("c", 0, zeros(4, 1, 3, 3), groups=3),
        ValueError,
        "layer 'c' (conv): groups = 3 with 3 input and 4 output channels; accepted: a divisor of "
        "both",
    ),
    (
        "no groups",
        image,
        lambda m: m.add_conv("c", 0, zeros(4, 3, 3, 3), groups=0),
        ValueError,
        f"layer 'c' (conv): groups = 0 of 3 channels; accepted: 1 to {2**30} each",
    ),
    (
        "convolution weight of three axes",
        signal,
        lambda m: m.add_conv("c", 0, zeros(4, 4, 3)),
        ValueError,
        "layer 'c' (conv): weight has shape (4, 4, 3); accepted: (out, in / groups, kH, kW)",
    ),
    (
        "kernel larger than the input",
        image,
        lambda m: m.add_conv("c", 0, zeros(4, 3, 3, 7)),
        ValueError,
        "layer 'c' (conv): kernel 7 with dilation 1 is larger than the padded input along x: 6 + 0 "
        "+ 0, input shape (3, 8, 6)",
    ),
    (
        "dilated kernel larger than the input",
        image,
        lambda m: m.add_conv("c", 0, zeros(4, 3, 3, 3), dilation=(5, 1), pad_begin=(2, 0)),
        ValueError,
        "layer 'c' (conv): kernel 3 with dilation 5 is larger than the padded input along y: 8 + 2 "
        "+ 0, input shape (3, 8, 6)",
    ),
    (
        "stride zero",
        image,
        lambda m: m.add_conv("c", 0, zeros(4, 3, 3, 3), stride=(1, 0)),
        ValueError,
        f"layer 'c' (conv): stride (1, 0); accepted: 1 to {2**30}",
    ),
    (
        "dilation that overflows",
        image,
        lambda m: m.add_conv("c", 0, zeros(4, 3, 3, 3), dilation=(2**62, 1)),
        ValueError,
        f"layer 'c' (conv): dilation ({2**62}, 1); accepted: 1 to {2**30}",
    ),
    (
        "negative padding",
        image,
        lambda m: m.add_conv("c", 0, zeros(4, 3, 3, 3), pad_end=(0, -1)),
        ValueError,
        f"layer 'c' (conv): padding behind (0, -1); accepted: 0 to {2**30}",
    ),
    (
        "convolution of a vector",
        vector,
        lambda m: m.add_conv("c", 0, zeros(4, 5, 1, 1)),
        UnsupportedError,
        "layer 'c' (conv): input of shape (5,); supported: (channels, length) and (channels, "
        "height, width)",
    ),
    (
        "convolution of a volume",
        lambda: Model((1, 4, 4, 4)),
        lambda m: m.add_conv("c", 0, zeros(4, 1, 1, 1)),
        UnsupportedError,
        "layer 'c' (conv): input of shape (1, 4, 4, 4); supported: ...",
    ),
    (
        "one-dimensional window that moves along y",
        signal,
        lambda m: m.add_conv("c", 0, zeros(4, 4, 3, 1)),
        ValueError,
        "layer 'c' (conv): the window moves along y, but the input (4, 9) is one-dimensional; "
        "accepted there: kernel, stride and dilation 1, no padding",
    ),
    (
        "output padding of the stride",
        image,
        lambda m: m.add_conv_transpose("t", 0, zeros(3, 4, 3, 3), output_padding=(0, 1)),
        ValueError,
        "layer 't' (conv_transpose): output padding (0, 1); accepted along x: 0 to 0 (below the "
        "larger of stride and dilation)",
    ),
    (
        "transposed convolution cropped away",
        image,
        lambda m: m.add_conv_transpose("t", 0, zeros(3, 4, 1, 1), pad_begin=(8, 0)),
        ValueError,
        f"layer 't' (conv_transpose): output size 0 along y for input shape (3, 8, 6); accepted: 1 "
        f"to {2**30}",
    ),
    (
        "transposed convolution that overflows",
        lambda: Model((1, 2**20, 1)),
        lambda m: m.add_conv_transpose("t", 0, zeros(1, 1, 1, 1), stride=(2**30, 1)),
        ValueError,
        f"layer 't' (conv_transpose): output size {(2**20 - 1) * 2**30 + 1} along y for ...",
    ),
    (
        "batch norm of other length",
        image,
        lambda m: m.add_batch_norm("b", 0, zeros(3), zeros(2)),
        ValueError,
        "layer 'b' (batch_norm): shift has 2 values; accepted: 3 (one per channel)",
    ),
    (
        "scale of other length",
        image,
        lambda m: m.add_scale_shift("s", 0, zeros(8), None),
        ValueError,
        "layer 's' (scale_shift): scale has 8 values for an input of shape (3, 8, 6); accepted: 1, "
        "3 (one per channel) or 144",
    ),
    (
        "neither scale nor shift",
        image,
        lambda m: m.add_scale_shift("s", 0, None, None),
        ValueError,
        "layer 's' (scale_shift): neither scale nor shift given",
    ),
    (
        "unknown activation",
        image,
        lambda m: m.add_activation("a", 0, "swoosh"),
        UnsupportedError,
        "layer 'a': activation 'swoosh'; supported: relu, leaky_relu, clip, elu, silu, gelu, "
        "gelu_tanh, sigmoid, tanh, hard_sigmoid, hard_swish, softplus, mish",
    ),
    (
        "clip upside down",
        image,
        lambda m: m.add_activation("a", 0, "clip", 6.0, 0.0),
        ValueError,
        "layer 'a' (clip): bounds [6.000000, 0.000000]; accepted: low <= high",
    ),
    (
        "clip to NaN",
        image,
        lambda m: m.add_activation("a", 0, "clip", 0.0, np.nan),
        ValueError,
        "layer 'a' (clip): bounds [0.000000, nan]; accepted: low <= high",
    ),
    (
        "infinite slope",
        image,
        lambda m: m.add_activation("a", 0, "leaky_relu", np.inf),
        ValueError,
        "layer 'a' (leaky_relu): parameter inf; accepted: a finite number",
    ),
    (
        "max pooling of padding",
        image,
        lambda m: m.add_max_pool("p", 0, kernel=(2, 2), pad_begin=(2, 0)),
        ValueError,
        "layer 'p' (max_pool): a window lies entirely in the padding along y: kernel 2, dilation "
        "1, padding 2 and 0, input shape (3, 8, 6)",
    ),
    (
        "average pooling of padding",
        image,
        lambda m: m.add_average_pool("p", 0, kernel=(2, 2), pad_end=(0, 2)),
        ValueError,
        "layer 'p' (average_pool): a window lies entirely in the padding along x: ...",
    ),
    (
        "pooling window larger than the input",
        image,
        lambda m: m.add_max_pool("p", 0, kernel=(9, 2)),
        ValueError,
        "layer 'p' (max_pool): kernel 9 with dilation 1 is larger than the padded input along y: "
        "8 + 0 + 0, input shape (3, 8, 6)",
    ),
    (
        "adaptive pooling to nothing",
        image,
        lambda m: m.add_adaptive_average_pool("p", 0, (1, 0)),
        ValueError,
        f"layer 'p' (adaptive_average_pool): output (1, 0); accepted: sizes from 1 to {2**30}",
    ),
    (
        "adaptive pooling of a signal to rows",
        signal,
        lambda m: m.add_adaptive_average_pool("p", 0, (2, 2)),
        ValueError,
        "layer 'p' (adaptive_average_pool): output (2, 2) for a one-dimensional input (4, 9); "
        "accepted: (1, length)",
    ),
    (
        "adaptive pooling that overflows",
        lambda: Model((2**20, 1, 1)),
        lambda m: m.add_adaptive_average_pool("p", 0, (2**15, 2**15)),
        ValueError,
        "layer 'p' (adaptive_average_pool): shape (1048576, 32768, 32768) has more than "
        f"{LIMIT} values",
    ),
    (
        "more pixels than 32 bits number",
        lambda: Model((1, 2**16, 2**15)),
        lambda m: m.add_global_max_pool("p", 0),
        ValueError,
        "layer 'p' (global_max_pool): input of shape (1, 65536, 32768); accepted: up to "
        f"{2**31 - 1} pixels per channel",
    ),
    (
        "sum of one",
        image,
        lambda m: m.add_add("s", [0]),
        ValueError,
        "layer 's' (add): 1 inputs; accepted: 2 or more",
    ),
    (
        "sum of two shapes",
        two_shapes,
        lambda m: m.add_add("s", [0, 1]),
        ValueError,
        "layer 's' (add): inputs of shapes (3, 8, 6), (3, 4, 3); accepted: one shape for all",
    ),
    (
        "concat of nothing",
        image,
        lambda m: m.add_concat("c", [], 0),
        ValueError,
        "layer 'c' (concat): 0 inputs; accepted: 1 or more",
    ),
    (
        "concat of two shapes",
        two_shapes,
        lambda m: m.add_concat("c", [0, 1], 1),
        ValueError,
        "layer 'c' (concat): inputs of shapes (3, 8, 6), (3, 4, 3); accepted: shapes that differ "
        "in axis 1 only",
    ),
    (
        "concat along no axis",
        image,
        lambda m: m.add_concat("c", [0, 0], 3),
        ValueError,
        "layer 'c' (concat): axis 3 of a sample of shape (3, 8, 6); accepted: 0 to 2",
    ),
    (
        "reshape to another size",
        image,
        lambda m: m.add_reshape("r", 0, (3, 7)),
        ValueError,
        "layer 'r' (reshape): input (3, 8, 6) of 144 values cannot become (3, 7) of 21",
    ),
    (
        "reshape to a negative size",
        image,
        lambda m: m.add_reshape("r", 0, (-12, -12)),
        ValueError,
        "layer 'r' (reshape): shape (-12, -12); accepted: sizes of 1 or more",
    ),
    (
        "pads of other rank",
        image,
        lambda m: m.add_pad("z", 0, (1, 1), (1, 1)),
        ValueError,
        "layer 'z' (pad): 2 and 2 pads for an input of shape (3, 8, 6); accepted: one before and "
        "one behind each of its axes",
    ),
    (
        "crop of everything",
        image,
        lambda m: m.add_pad("z", 0, (0, -4, 0), (0, -4, 0)),
        ValueError,
        "layer 'z' (pad): pads -4 and -4 on axis 1 of size 8; accepted: pads that leave at least "
        "one value",
    ),
    (
        "crop of everything, padded again",
        image,
        lambda m: m.add_pad("z", 0, (0, -9, 0), (0, 4, 0)),
        ValueError,
        "layer 'z' (pad): pads -9 and 4 on axis 1 of size 8; accepted: ...",
    ),
    (
        "pad that overflows",
        image,
        lambda m: m.add_pad("z", 0, (0, 2**63 - 1, 0), (0, 2**63 - 1, 0)),
        ValueError,
        f"layer 'z' (pad): pads {2**63 - 1} and {2**63 - 1} on axis 1 of size 8; accepted: ...",
    ),
    (
        "pad with infinity",
        image,
        lambda m: m.add_pad("z", 0, (0, 1, 0), (0, 1, 0), -np.inf),
        ValueError,
        "layer 'z' (pad): padding value is not finite",
    ),
    (
        "softmax along no axis",
        vector,
        lambda m: m.add_softmax("p", 0, 1),
        ValueError,
        "layer 'p' (softmax): axis 1 of a sample of shape (5,); accepted: 0 to 0",
    ),
    (
        "layer behind a softmax",
        with_softmax,
        lambda m: m.add_dense("d", 1, zeros(2, 5)),
        UnsupportedError,
        "layer 'd' (dense): it reads the softmax 'p'; supported: softmax as the last layer only",
    ),
    (
        "output of no node",
        image,
        lambda m: m.add_output("y", 1),
        ValueError,
        "output 'y': node 1; accepted: 0 to 0",
    ),
    (
        "output without a name",
        image,
        lambda m: m.add_output("", 0),
        ValueError,
        "output '': empty name",
    ),
    (
        "output with another layer's name",
        two_shapes,
        lambda m: m.add_output("half", 0),
        ValueError,
        "output 'half': another layer has this name; accepted: the name of node 0 or a new one",
    ),
    (
        "unknown name",
        two_shapes,
        lambda m: m.find("helf"),
        ValueError,
        "no layer or output is called 'helf'; near names: 'half', 'input'",
    ),
    (
        "shape of no node",
        image,
        lambda m: m.shape(7),
        ValueError,
        "node 7; accepted: 0 to 0",
    ),
    (
        "unknown rule",
        image,
        lambda m: _core.Rule("lrp"),
        ValueError,
        "rule 'lrp'; accepted: gradient, epsilon, z_plus, alpha_beta, gamma, w_square, flat, "
        "z_box, reweighted, pass, norm",
    ),
    (
        "gather of too few",
        vector,
        lambda m: m.add_gather("g", 0, (3,), np.array([0, 1])),
        ValueError,
        "layer 'g' (gather): index has 2 entries for an output of shape (3,); accepted: 3",
    ),
    (
        "gather beyond the input",
        vector,
        lambda m: m.add_gather("g", 0, (2,), np.array([0, 5])),
        ValueError,
        "layer 'g' (gather): index 5 at 1 of an input of shape (5,); accepted: 0 to 4",
    ),
    (
        "gather by floats",
        vector,
        lambda m: m.add_gather("g", 0, (2,), zeros(2)),
        TypeError,
        "layer 'g' (gather): index...",
    ),
    (
        "gather to nothing",
        vector,
        lambda m: m.add_gather("g", 0, (0,), np.zeros(0, np.int64)),
        ValueError,
        "layer 'g' (gather): shape (0,); accepted: sizes of 1 or more",
    ),
    (
        "resample of another height",
        image,
        lambda m: m.add_resample("r", 0, zeros(4, 6), zeros(4, 8)),
        ValueError,
        "layer 'r' (resample): rows and columns take (6, 8), the input has shape (3, 8, 6)",
    ),
    (
        "resample by a vector",
        image,
        lambda m: m.add_resample("r", 0, zeros(8), zeros(4, 6)),
        ValueError,
        "layer 'r' (resample): rows and columns have shapes (8,) and (4, 6); accepted: (out, in) "
        "each",
    ),
    (
        "resample of a signal's height",
        signal,
        lambda m: m.add_resample("r", 0, zeros(2, 1), zeros(4, 9)),
        ValueError,
        "layer 'r' (resample): output (2, 4) for a one-dimensional input (4, 9); accepted: "
        "(1, length)",
    ),
    (
        "resample by infinity",
        signal,
        lambda m: m.add_resample("r", 0, zeros(1, 1), with_value(np.inf, 4, 9)),
        ValueError,
        "layer 'r' (resample): columns is inf at index 35; accepted: finite numbers",
    ),
    (
        "resample of a vector",
        vector,
        lambda m: m.add_resample("r", 0, zeros(1, 1), zeros(2, 5)),
        ValueError,
        "layer 'r' (resample): rows and columns take (1, 5), the input has shape (5,)",
    ),
    (
        "layer norm of a part of an axis",
        image,
        lambda m: m.add_layer_norm("n", 0, 12),
        ValueError,
        "layer 'n' (layer_norm): it normalises 12 values of an input of shape (3, 8, 6); accepted: "
        "the size of its last axes together",
    ),
    (
        "layer norm with a short weight",
        image,
        lambda m: m.add_layer_norm("n", 0, 6, zeros(5)),
        ValueError,
        "layer 'n' (layer_norm): weight has 5 values; accepted: 6 (one per output, or none)",
    ),
    (
        "layer norm with a negative eps",
        image,
        lambda m: m.add_layer_norm("n", 0, 6, eps=-1),
        ValueError,
        "layer 'n' (layer_norm): eps -1.000000; accepted: a finite number of 0 or more",
    ),
    (
        "product of two shapes",
        two_shapes,
        lambda m: m.add_product("p", 0, 1),
        ValueError,
        "layer 'p' (product): inputs of shapes (3, 8, 6), (3, 4, 3); accepted: one shape for both",
    ),
    (
        "unknown instruction set",
        image,
        lambda m: _core.Plan(m, isa="sse9"),
        ValueError,
        "isa 'sse9'; accepted: reference, baseline, avx2, avx512, amx, neon",
    ),
    (
        "negative workspace",
        image,
        lambda m: _core.Plan(m, workspace_bytes=-1),
        ValueError,
        "workspace_bytes = -1; accepted: 0 (the default) or more",
    ),
    (
        "no samples",
        image,
        lambda m: _core.Plan(m, samples=0),
        ValueError,
        "samples = 0; accepted: 1 or more",
    ),
]


@pytest.mark.parametrize(
    ("model", "call", "exception", "message"),
    [case[1:] for case in ERRORS],
    ids=[case[0] for case in ERRORS],
)
def test_refuses(
    model: Callable[[], Model],
    call: Callable[[Model], Any],
    exception: type[Exception],
    message: str,
) -> None:
    built = model()
    before = built.nodes, built.outputs
    end = "" if message.endswith("...") else "$"
    with pytest.raises(exception, match=f"^{re.escape(message.removesuffix('...'))}{end}") as error:
        call(built)
    assert type(error.value) is exception
    assert (built.nodes, built.outputs) == before


def test_output_names_are_unique_and_kept_from_later_layers() -> None:
    model = image()
    model.add_output("y", 0)
    with pytest.raises(
        ValueError, match=r"^output 'y': the name is taken; accepted: unique names$"
    ):
        model.add_output("y", 0)
    with pytest.raises(
        ValueError, match=r"^layer 'y' \(identity\): the name is taken by an output"
    ):
        model.add_identity("y", 0)


def test_nodes_tell_the_graph() -> None:
    model = Model((3, 8, 6), "x")
    conv = model.add_conv("c", 0, zeros(4, 3, 3, 3), zeros(4), pad_begin=(1, 1), pad_end=(1, 1))
    relu = model.add_activation("r", conv, "relu")
    both = model.add_add("s", [conv, relu])
    flat = model.add_reshape("f", both, (192,))
    dense = model.add_dense("d", flat, zeros(7, 192))
    model.add_output("logits", dense)
    assert model.nodes == [
        ("x", "input", [], (3, 8, 6)),
        ("c", "conv", [0], (4, 8, 6)),
        ("r", "relu", [1], (4, 8, 6)),
        ("s", "add", [1, 2], (4, 8, 6)),
        ("f", "reshape", [3], (192,)),
        ("d", "dense", [4], (7,)),
    ]
    assert model.outputs == [("logits", 5)]
    assert [model.find(name) for name in ("x", "d", "logits")] == [0, 5, 5]
    assert model.shape(both) == (4, 8, 6)
    assert model.parameter_count == 4 * 27 + 4 + 7 * 192


GEOMETRIES = [
    (size, kernel, stride, dilation, begin, end)
    for size, kernel, stride, dilation in itertools.product(
        (1, 2, 5, 8), (1, 2, 3), (1, 2, 3), (1, 3)
    )
    for begin, end in ((0, 0), (1, 1), (0, 1), (3, 2))
]


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pooling_sizes_are_those_of_their_windows(ceil_mode: bool) -> None:
    """Against windows written down one by one; those wholly in padding are refused."""
    refused = 0
    for size, kernel, stride, dilation, begin, end in GEOMETRIES:
        extent = dilation * (kernel - 1) + 1
        starts = [
            start
            for start in range(-begin, size + end + stride, stride)
            # with ceil_mode also the first one that hangs over the end
            if start + extent <= size + end or (ceil_mode and start + extent < size + end + stride)
        ]
        # torch drops the last window if it starts in the padding behind the input
        if ceil_mode and starts and starts[-1] >= size:
            starts.pop()
        empty = any(
            not any(0 <= start + tap * dilation < size for tap in range(kernel)) for start in starts
        )
        model = Model((2, size))
        window = {
            "kernel": (1, kernel),
            "stride": (1, stride),
            "dilation": (1, dilation),
            "pad_begin": (0, begin),
            "pad_end": (0, end),
        }
        if not starts or empty:
            refused += 1
            text = "entirely in the padding" if starts else "larger than the padded input"
            with pytest.raises(ValueError, match=text):
                model.add_max_pool("p", 0, ceil_mode=ceil_mode, **window)
            continue
        node = model.add_max_pool("p", 0, ceil_mode=ceil_mode, **window)
        assert model.shape(node) == (2, len(starts)), (size, window)
    assert 0 < refused < len(GEOMETRIES)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_window_sizes_agree_with_torch(ceil_mode: bool) -> None:
    torch = pytest.importorskip("torch")
    compared = 0
    for size, kernel, stride, dilation, pad, _ in GEOMETRIES:
        if 2 * pad > kernel:  # torch's own limit
            continue
        x = torch.empty((1, 2, size), device="meta")
        try:
            y = torch.max_pool1d(x, kernel, stride, pad, dilation, ceil_mode)
        except RuntimeError:
            continue
        window = {
            "kernel": (1, kernel),
            "stride": (1, stride),
            "dilation": (1, dilation),
            "pad_begin": (0, pad),
            "pad_end": (0, pad),
        }
        model = Model((2, size))
        node = model.add_average_pool("p", 0, ceil_mode=ceil_mode, count_include_pad=True, **window)
        assert model.shape(node) == tuple(y.shape[1:]), (size, window)
        compared += 1
    assert compared > 50


def test_transposed_sizes_agree_with_torch() -> None:
    torch = pytest.importorskip("torch")
    for size, kernel, stride, dilation, pad, extra in GEOMETRIES:
        weight = torch.zeros((2, 3, kernel))
        geometry = {
            "stride": (1, stride),
            "dilation": (1, dilation),
            "pad_begin": (0, pad),
            "pad_end": (0, pad),
            "output_padding": (0, extra),
        }
        model = Model((2, size))
        try:
            y = torch.conv_transpose1d(
                torch.zeros((1, 2, size)),
                weight,
                None,
                stride,
                pad,
                extra,
                1,
                dilation,
            )
        except RuntimeError:
            with pytest.raises(ValueError, match=r"output (size|padding)"):
                model.add_conv_transpose("t", 0, zeros(2, 3, 1, kernel), **geometry)
            continue
        node = model.add_conv_transpose("t", 0, zeros(2, 3, 1, kernel), **geometry)
        assert model.shape(node) == tuple(y.shape[1:]), (size, kernel, geometry)


def test_windows_in_padding_are_fine_where_they_mean_something() -> None:
    model = image()
    conv = model.add_conv("c", 0, zeros(4, 3, 1, 1), pad_begin=(3, 0), pad_end=(0, 5))
    pool = model.add_average_pool("p", 0, kernel=(1, 1), pad_begin=(2, 2), count_include_pad=True)
    assert model.shape(conv) == (4, 11, 11)
    assert model.shape(pool) == (3, 10, 8)
