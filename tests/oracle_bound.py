"""A bound on the rounding error of a float32 implementation of a rule, from absolute values.

Every sum of n products in any order, with or without fused multiply-add, is off by at most
γ_n Σ |w x| with γ_n = n u / (1 - n u) and u the unit roundoff (Higham, Accuracy and Stability of
Numerical Algorithms, section 3.1). With that, for one share of a rule,

    |δd| <= γ_n (Σ_k |w_k| |x_k| + |b|)
    |δs| <= |s| (|δd| / max(|st(d)| - |δd|, ε) + 2 u), or |s| + |r| / ε where the sign of d is open
    |δR| <= Σ_k |x_k| ⊙ (|w_k|ᵀ |δs| + γ_m |w_k|ᵀ |s|)

The inputs count as exact. ``roundings`` is what is added to n and m for the few elementwise
operations around the sums (forming (1 + γ) w, w², x - low, adding bias, final additions).
"""

from __future__ import annotations

import numpy as np

from oracle_layers import Array, Linear, Rule, shares, stabilize

UNIT = 2.0**-24
ROUNDINGS = 8


def gamma_n(n: float) -> float:
    return n * UNIT / (1 - n * UNIT)


def lengths(layer: Linear, x: Array, r: Array) -> tuple[float, float]:
    """Longest sum of the layer's forward and of its backward product."""
    ones = np.ones_like(layer.weight)
    forward = layer.apply(ones, np.ones_like(x)).max()
    backward = layer.adjoint(ones, np.ones_like(r), x).max()
    return float(forward), float(backward)


def forward_bound(layer: Linear, x: Array) -> Array:
    z = layer.apply(np.abs(layer.weight), np.abs(x))
    n, _ = lengths(layer, x, z)
    return gamma_n(n + ROUNDINGS) * (z + np.abs(layer.bias_for(z)))


def gradient_bound(layer: Linear, x: Array, g: Array) -> Array:
    _, m = lengths(layer, x, g)
    return gamma_n(m + ROUNDINGS) * layer.adjoint(np.abs(layer.weight), np.abs(g), x)


def relevance_bound(layer: Linear, x: Array, r: Array, rule: Rule) -> Array:
    """Elementwise bound on |R_float32 - R|; the arrays are float64."""
    if rule.kind == "gradient":
        return gradient_bound(layer, x, r)
    n, m = lengths(layer, x, r)
    total = np.zeros_like(x)
    if rule.kind == "gamma":
        refuse_open_signs(layer, x, r, rule, gamma_n(n + ROUNDINGS))
    for share in shares(layer, x, r, rule):
        d = share.denominator(layer)
        size = sum(layer.apply(np.abs(w), np.abs(part)) for w, part in share.parts)
        delta_d = gamma_n(n + ROUNDINGS) * (size + np.abs(share.bias))
        st = np.abs(stabilize(d, share.epsilon))
        s = np.abs(share.r) / st
        relative = delta_d / np.maximum(st - delta_d, share.epsilon) + 2 * UNIT
        open_sign = (np.abs(d) <= delta_d) & (delta_d > 0)
        delta_s = np.where(open_sign, s + np.abs(share.r) / share.epsilon, s * relative)
        for w, part in share.parts:
            factor = layer.adjoint(np.abs(w), delta_s + gamma_n(m + ROUNDINGS) * s, x)
            total += np.abs(part) * factor
    return total


def refuse_open_signs(layer: Linear, x: Array, r: Array, rule: Rule, g: float) -> None:
    """γ branches on the sign of z: where rounding could flip it no bound exists."""
    b = layer.bias_for(r) if rule.absorb_bias else np.zeros(())
    z = layer.apply(layer.weight, x) + b
    size = layer.apply(np.abs(layer.weight), np.abs(x)) + np.abs(b)
    if np.any((np.abs(z) <= g * size) & (size > 0) & (r != 0)):
        raise ValueError("the sign of z is within rounding: choose other data")
