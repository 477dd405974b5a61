"""Prototypes of all ten classes by activation maximization, three ways, and how good they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import relprop as rp
from page import Doubles, Floats, Section, digit, number, table
from relprop import zoo

CLASSES = range(10)


@dataclass(frozen=True)
class Row:
    """One way to make prototypes. log_density: of the expert, up to a constant."""

    key: str
    title: str
    formula: str
    pictures: Floats  # (10, 28, 28)
    own: Doubles  # p(w_c|x) under the network that was maximised
    other: Doubles  # under a second one that was not
    log_density: Doubles


def probability(model: rp.Model, x: Floats) -> Doubles:
    """p(w_c|x) of the c-th picture."""
    logits = model(x).astype(np.float64)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Doubles = (shifted / shifted.sum(axis=1, keepdims=True))[CLASSES, CLASSES]
    return result


def make_rows(model: rp.Model) -> list[Row]:
    """Climbs three times."""
    expert, judge = zoo.digits_rbm(), zoo.digits_judge()
    paper_to_ink = {"box": (0.0, 1.0)}
    ways = (
        ("simple", "simple", "log p(ω<sub>c</sub>|x) − λ‖x‖²", rp.experts.L2(), {}),
        (
            "expert",
            "with an expert",
            "log p(ω<sub>c</sub>|x) + log p(x)",
            rp.experts.Product([expert], [0.015]),
            # All classes climb to the expert's own favourite from a uniform grey.
            {**paper_to_ink, "noise": 0.5, "restarts": 8},
        ),
        (
            "code",
            "in code space",
            "log p(ω<sub>c</sub>|g(z)) − λ‖z‖²",
            rp.CodeSpace(zoo.digits_decoder(), 0.001),
            {},
        ),
    )
    rows = []
    for key, title, formula, prior, options in ways:
        found = rp.ActivationMaximization(model, prior).maximize(CLASSES, n_threads=1, **options)
        x = found.prototypes
        rows.append(
            Row(
                key,
                title,
                formula,
                x[:, 0],
                probability(model, x),
                probability(judge, x),
                expert.log_density(x),
            )
        )
    return rows


def section(rows: list[Row]) -> Section:
    """Three rows of ten pictures, with three numbers each."""
    header = ["", *(str(c) for c in CLASSES)]
    cells = [
        [
            f"<b>{row.title}</b><small>{row.formula}</small>"
            "<small>p, judge’s p, log density</small>",
            *(_cell(row, c) for c in CLASSES),
        ]
        for row in rows
    ]
    body = f"""
    <p>The other way round: not which pixels made this digit a 3, but what a 3 is to the network.
    <i>Activation maximization</i> starts from noise and climbs: it looks for the picture
    <i>x</i> that makes log p(ω<sub>c</sub>|<i>x</i>) largest. Left to itself it finds pictures of
    which the network is certain and nobody else is. An expert, a density of digits (a Gaussian
    restricted Boltzmann machine), keeps it near what digits look like; the code space of a
    generator <i>g</i> lets it choose only among pictures that the generator can draw.</p>
    {table(header, cells, "pictures prototypes")}
    <p class="note">Under each picture: p(ω<sub>c</sub>|<i>x</i>) under the network that was
    maximised, under a second network that was trained separately and never asked, and the expert’s
    log density up to a constant, where nine of ten real digits lie between −90 and 30.</p>"""
    return Section("prototypes", "What the network looks for", body)


def _cell(row: Row, c: int) -> str:
    shown = digit(np.clip(row.pictures[c], 0, 1), f"prototype of {c}, {row.title}")
    figures = (
        ("own", row.own[c], 3),
        ("other", row.other[c], 3),
        ("density", row.log_density[c], 0),
    )
    lines = "".join(
        f"<small data-prototype='{row.key}' data-figure='{name}' data-class='{c}'>"
        f"{number(value, digits)}</small>"
        for name, value, digits in figures
    )
    return shown + lines
