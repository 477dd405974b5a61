from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
DoubleArray = npt.NDArray[np.float64]

__version__: str

class UnsupportedError(ValueError):
    """Well-formed, but relprop has no kernel or rule for it."""

def available_isas() -> list[str]: ...
def default_isa() -> str: ...
def default_thread_count() -> int: ...
def build_info() -> dict[str, Any]: ...
def all_finite(values: FloatArray) -> bool:
    """Whether a C-contiguous float32 array has no NaN or infinite values."""

class Model:
    """The network as plain data; each add_* checks, infers the shape and returns the node index."""

    def __init__(self, input_shape: Sequence[int], input_name: str = "input") -> None: ...
    def add_dense(
        self, name: str, input: int, weight: FloatArray, bias: FloatArray | None = None
    ) -> int: ...
    def add_conv(
        self,
        name: str,
        input: int,
        weight: FloatArray,
        bias: FloatArray | None = None,
        *,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        pad_begin: tuple[int, int] = (0, 0),
        pad_end: tuple[int, int] = (0, 0),
        groups: int = 1,
    ) -> int: ...
    def add_conv_transpose(
        self,
        name: str,
        input: int,
        weight: FloatArray,
        bias: FloatArray | None = None,
        *,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        pad_begin: tuple[int, int] = (0, 0),
        pad_end: tuple[int, int] = (0, 0),
        output_padding: tuple[int, int] = (0, 0),
        groups: int = 1,
    ) -> int: ...
    def add_batch_norm(
        self, name: str, input: int, scale: FloatArray, shift: FloatArray
    ) -> int: ...
    def add_scale_shift(
        self, name: str, input: int, scale: FloatArray | None, shift: FloatArray | None
    ) -> int: ...
    def add_activation(
        self, name: str, input: int, function: str, a: float = 0.0, b: float = 0.0
    ) -> int: ...
    def add_max_pool(
        self,
        name: str,
        input: int,
        *,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        pad_begin: tuple[int, int] = (0, 0),
        pad_end: tuple[int, int] = (0, 0),
        ceil_mode: bool = False,
    ) -> int: ...
    def add_average_pool(
        self,
        name: str,
        input: int,
        *,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        pad_begin: tuple[int, int] = (0, 0),
        pad_end: tuple[int, int] = (0, 0),
        ceil_mode: bool = False,
        count_include_pad: bool = False,
    ) -> int: ...
    def add_adaptive_average_pool(
        self, name: str, input: int, output: tuple[int, int] = (1, 1)
    ) -> int: ...
    def add_global_max_pool(self, name: str, input: int) -> int: ...
    def add_add(self, name: str, inputs: Sequence[int]) -> int: ...
    def add_concat(self, name: str, inputs: Sequence[int], axis: int) -> int: ...
    def add_reshape(self, name: str, input: int, shape: Sequence[int]) -> int: ...
    def add_pad(
        self, name: str, input: int, begin: Sequence[int], end: Sequence[int], value: float = 0.0
    ) -> int: ...
    def add_gather(self, name: str, input: int, shape: Sequence[int], index: IntArray) -> int: ...
    def add_resample(self, name: str, input: int, rows: FloatArray, columns: FloatArray) -> int: ...
    def add_layer_norm(
        self,
        name: str,
        input: int,
        size: int,
        weight: FloatArray | None = None,
        bias: FloatArray | None = None,
        eps: float = 1e-5,
    ) -> int: ...
    def add_product(self, name: str, a: int, b: int, gate: bool = True) -> int: ...
    def add_softmax(self, name: str, input: int, axis: int) -> int: ...
    def add_identity(self, name: str, input: int) -> int: ...
    def add_output(self, name: str, node: int) -> None: ...
    def append(self, tail: Model, at: int, output: int, prefix: str = "") -> int:
        """Puts tail behind node `at`; returns the index that its node `output` has now."""
    def logits_node(self, output: int) -> int:
        """The input of the softmax that this node is, or the node itself."""
    def find(self, name: str) -> int: ...
    def shape(self, node: int) -> tuple[int, ...]: ...
    @property
    def nodes(self) -> list[tuple[str, str, list[int], tuple[int, ...]]]:
        """(name, op, inputs, shape of the output per sample) of every node; node 0 is the input."""
    @property
    def outputs(self) -> list[tuple[str, int]]: ...
    @property
    def parameter_count(self) -> int: ...

class Rule:
    def __init__(
        self,
        kind: str,
        *,
        alpha: float = 1.0,
        beta: float = 0.0,
        gamma: float = 0.25,
        stabilizer: float = 1e-6,
        absorb_bias: bool = True,
        low: FloatArray | None = None,
        high: FloatArray | None = None,
    ) -> None:
        """kind: gradient, epsilon, z_plus, alpha_beta, gamma, w_square, flat, z_box, reweighted,
        pass, norm."""

class Plan:
    def __init__(
        self,
        model: Model,
        rules: Sequence[Rule] = (),
        *,
        output: int = -1,
        isa: str = "",
        forward_only: bool = False,
        workspace_bytes: int = 0,
        samples: int = 1,
    ) -> None:
        """samples: that usually come together; see Model.for_batches_of."""
    def forward(self, x: FloatArray, n_threads: int = 0) -> FloatArray:
        """x: (n, *input_shape) float32 C-contiguous -> (n, *output_shape). Releases the GIL."""
    def relevance(
        self,
        x: FloatArray,
        *,
        start: str | FloatArray = "output",
        targets: IntArray | None = None,
        want_output: bool = False,
        layers: Sequence[int] = (),
        masks: Sequence[tuple[int, FloatArray, bool]] = (),
        mask_targets: Sequence[int] = (),
        exclude_parallel: bool = False,
        conservation: bool = False,
        square: bool = False,
        times_input: bool = False,
        n_threads: int = 0,
    ) -> tuple[FloatArray, FloatArray | None, list[FloatArray], list[dict[str, Any]]]:
        """Relevance (n, t, *input_shape), output, relevance of each of layers (n, t, *its shape),
        and one dict per layer with node, relevance_out, relevance_in, bias, epsilon, zero.

        targets: (n, t) flat output indices, -1 for the arg max; start: "output", "one", "log_prob"
        or an array (n, t, *output_shape). masks: (node, values (n or 1, *node shape), per_sample);
        mask_targets: for each mask the index of the target that it is for, or -1.
        """
    def profile(
        self, x: FloatArray, start: str | FloatArray = "output", n_threads: int = 0
    ) -> list[dict[str, Any]]:
        """Wall seconds of each step of one pass: node, forward, backward."""
    @property
    def input_shape(self) -> tuple[int, ...]: ...
    @property
    def output_shape(self) -> tuple[int, ...]: ...
    @property
    def isa(self) -> str: ...
    @property
    def layers(self) -> list[dict[str, Any]]:
        """node, name, op, rule, forward, backward, shape, parameters, multiply_adds per layer."""
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...

class Prior:
    """A product of experts for inputs of one shape; arrays are row-major, of that shape."""

    def __init__(self, shape: Sequence[int]) -> None: ...
    def add_l2(self, lam: float, mean: FloatArray | None = None, weight: float = 1.0) -> None: ...
    def add_total_variation(
        self, lam: float, exponent: float = 2.0, weight: float = 1.0
    ) -> None: ...
    def add_gaussian(
        self,
        mean: FloatArray | None,
        variance: FloatArray | None = None,
        covariance: FloatArray | None = None,
        weight: float = 1.0,
    ) -> None: ...
    def add_gaussian_rbm(
        self,
        W: FloatArray,
        visible_bias: FloatArray,
        hidden_bias: FloatArray,
        sigma: FloatArray,
        weight: float = 1.0,
    ) -> None: ...
    def add_log_density(
        self,
        function: Callable[[FloatArray], tuple[float, FloatArray]],
        weight: float = 1.0,
    ) -> None: ...
    def evaluate(self, x: FloatArray, n_threads: int = 0) -> tuple[DoubleArray, FloatArray]:
        """x: (n, *shape) -> weighted log p of every expert (n, size), gradient of their sum."""
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def size(self) -> int: ...

class Update:
    def __init__(
        self,
        kind: str,
        *,
        rate: float,
        momentum: float = 0.9,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        decay: float = 1.0,
        decay_steps: int = 100,
    ) -> None:
        """kind: ascent, momentum, adam, normalized."""

class View:
    def __init__(
        self, jitter: int = 0, scaling: float = 1.0, blur: float = 0.0, blur_steps: int = 4
    ) -> None: ...

def maximize(
    objectives: Sequence[tuple[Plan, str, int]],
    *,
    steps: int,
    restarts: int,
    seed: int,
    prior: Prior | None,
    initial: FloatArray | None,
    noise: float,
    low: FloatArray | None,
    high: FloatArray | None,
    update: Update,
    view: View,
    tolerance: float,
    patience: int,
    progress: Callable[[int, int, int, DoubleArray], object] | None,
    n_threads: int,
) -> tuple[FloatArray, DoubleArray, IntArray, list[str], list[DoubleArray]]:
    """The best restart of every objective: x (n, *input_shape), probability, restart, why it
    stopped, and the history (entries, 1 + experts). Releases the GIL; KeyboardInterrupt ends it.

    objectives: (gradient plan for the layer, log_probability, neuron, channel or layer, index).
    initial: empty, one x, or one per objective and restart. progress(step, steps, climbing, value
    of the best restart of each objective) is called before every step.
    """
