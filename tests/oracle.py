"""The definitions that everything is tested against: slow, obvious, and none of relprop's code."""

from oracle_bound import forward_bound, gradient_bound, relevance_bound
from oracle_layers import Affine, Conv, ConvTranspose, Dense, Leaks, Linear, Rule, leaks
from oracle_network import GRADIENT, Explanation, Network

__all__ = [
    "GRADIENT",
    "Affine",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Explanation",
    "Leaks",
    "Linear",
    "Network",
    "Rule",
    "forward_bound",
    "gradient_bound",
    "leaks",
    "relevance_bound",
]
