"""Kinds of layers of the engine's network, as the front ends tell them apart."""

ACTIVATIONS = frozenset(
    {
        "relu",
        "leaky_relu",
        "clip",
        "elu",
        "silu",
        "gelu",
        "gelu_tanh",
        "sigmoid",
        "tanh",
        "hard_sigmoid",
        "hard_swish",
        "softplus",
        "mish",
    }
)
# Relevance follows the values.
MOVES = frozenset({"reshape", "gather", "concat", "identity", "pad", "max_pool", "global_max_pool"})
