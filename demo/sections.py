"""The sections of the report: functions from Study to Section, listed in SECTIONS."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import charts
import relprop as rp
from accounts import conservation, timing
from explainers import EXPLAINERS, PROPAGATING, Explainer
from page import Floats, Section, digit, number, picture, table
from prototypes import section as prototype_section
from relprop import images
from study import Study

# The digit that the paragraphs on the methods show.
EXAMPLE = 7


def lead() -> str:
    """What the page is about, below the title."""
    return f"""
    <p class="lead">A small neural network reads handwritten digits. It is right for 99.3 % of the
    10,000 MNIST test digits, but it gives no reasons. This page asks for them: for ten
    digits, which pixels made the network decide as it did? Five methods answer, all computed by
    relprop {rp.__version__} when this page was written.</p>"""


def footer() -> str:
    """Sources and licences."""
    return """
    <p>The methods: S. Bach et al., “On pixel-wise explanations for non-linear classifier decisions
    by layer-wise relevance propagation”, 2015; G. Montavon, W. Samek, K.-R. Müller, “Methods for
    interpreting and understanding deep neural networks”, 2017; G. Montavon et al., “Layer-wise
    relevance propagation: an overview”, 2019.</p>
    <p>The digits are from the MNIST test set by Y. LeCun and C. Cortes, CC BY-SA 3.0, and so are
    the pictures of them on this page. <code>make demo</code> writes this page anew.</p>"""


def evidence(study: Study) -> Section:
    """Each digit with its logits, the best class and the second."""
    scale = float(np.abs(study.output).max())
    cards = []
    for i, (logits, p) in enumerate(zip(study.output, study.probability, strict=True)):
        second, first = np.argsort(logits)[-2:]
        cards.append(
            f"<figure class='card'><div>{digit(study.x[i, 0], f'digit {study.label[i]}')}"
            f"<p class='verdict'><b>{first}</b><span>p = {number(p[first], 3)}</span>"
            f"<span class='quiet'>{second}: {number(p[second], 3)}</span></p></div>"
            f"{charts.class_bars(logits, p, int(first), scale)}</figure>"
        )
    body = f"""
    <p>For each of ten classes the network computes a score, the logit
    <i>f</i><sub>c</sub>(<i>x</i>); the largest wins, and softmax turns the scores into
    probabilities. The bars are the scores: up is for the class, down against it. All that follows
    explains the winner’s score, the red bar. One of these digits was chosen because the network
    hesitates: is it a 4 or a 9?</p>
    <div class="cards">{"".join(cards)}</div>
    <p class="note">Digits are shown in black on white; the network sees ink as 1 and paper as
    0.</p>"""
    return Section("evidence", "What the network says", body)


def side_by_side(study: Study) -> Section:
    """All digits under all methods."""
    header = ["", *(f"<b>{e.title}</b><small>{e.question}</small>" for e in EXPLAINERS)]
    rows = []
    for i, label in enumerate(study.label):
        row = [f"<th scope='row'>{digit(study.x[i, 0], f'digit {label}')}</th>"]
        for e in EXPLAINERS:
            heat = images.heatmap(study.heatmaps[e.key][i])
            row.append(picture(heat, f"{e.title} of digit {label}"))
        rows.append(row)
    body = f"""
    <p>Each picture below has one value per pixel: its <i>relevance</i> for the class that the
    network chose.</p>
    {_colour_key("against the class", "no say", "for the class")}
    {table(header, rows, "pictures")}
    <p class="note">Every heatmap is scaled to its own largest value.</p>"""
    return Section("heatmaps", "Five explanations side by side", body)


def _colour_key(low: str, middle: str, high: str) -> str:
    key = picture(images.colour_key(256, 12), "colour key: blue, white, red", "key")
    return (
        f"<figure class='colours'>{key}"
        f"<figcaption><span>{low}</span><span>{middle}</span><span>{high}</span></figcaption></figure>"
    )


def methods(study: Study) -> Section:
    """A picture and a paragraph per method."""
    parts = [_method(study, explainer) for explainer in EXPLAINERS]
    intro = """
    <p>Sensitivity looks at slopes. The four others are layer-wise relevance propagation (LRP): it
    takes the score <i>f</i>(<i>x</i>) itself and hands it back through the network, layer by layer,
    until it lies on the pixels. Each neuron passes on what it received to its inputs, in proportion
    to what they contributed, <i>x<sub>i</sub>w<sub>ij</sub></i>. Contributions can be positive (the
    input excited the neuron) or negative (it held the neuron back), and the rules differ in how
    they treat the two: α and β say how many shares each kind gets, with α − β = 1.</p>"""
    return Section("methods", "What each method asks", intro + "".join(parts))


def _method(study: Study, explainer: Explainer) -> str:
    heat = images.heatmap(study.heatmaps[explainer.key][EXAMPLE])
    shown = picture(heat, f"{explainer.title} of digit {study.label[EXAMPLE]}", "pixels large")
    return (
        f"<article id='method-{explainer.key}'>{shown}<div><h3>{explainer.title}</h3>"
        f"<p class='question'>{explainer.question}</p><p>{explainer.text}</p></div></article>"
    )


def rivals(study: Study) -> Section:
    """One ambiguous digit, explained for both of its classes."""
    found = study.rivals
    first, second = found.classes
    logits, p = study.output[found.digit], study.probability[found.digit]
    header = [
        "",
        *(
            f"why {c}?<small>f = {number(logits[c])}, p = {number(p[c], 3)}</small>"
            for c in found.classes
        ),
        f"why {first} and not {second}?<small>the difference</small>",
    ]
    rows = [
        [f"<b>{e.title}</b>", *_rival_pictures(found.heatmaps[e.key], e, first, second)]
        for e in EXPLAINERS
        if e.key in found.heatmaps
    ]
    shown = digit(study.x[found.digit, 0], "the ambiguous digit", "pixels huge")
    body = f"""
    <div class="beside">{shown}<div>
    <p>The network calls this digit a {first}, but by a hair: <i>p</i> = {number(p[first], 3)}
    against {number(p[second], 3)} for {second}. LRP explains any class, not only the winner, and is
    linear in the score it starts from: the relevance for {first} minus that for {second} explains
    the difference of their scores. In the last column red pixels make it a {first} rather than a
    {second}, blue ones a {second} rather than a {first}.</p>
    <p>α1β0 finds the same strokes for both classes: it has no place for counter-evidence. The rules
    with two colours show the dispute, the composite most clearly: the pointed corner on the left
    makes it a 4 and speaks against a 9, the stroke at the upper right makes it a 9 and speaks
    against a 4. Sensitivity shows where a change of ink would matter, which is much the same for
    both; its squares have no difference that would explain anything.</p>
    </div></div>
    {table(header, rows, "pictures rivals")}
    <p class="note">Within a row, all pictures share one scale.</p>"""
    return Section("rivals", f"Counter-evidence: {first} or {second}?", body)


def _rival_pictures(heat: Floats, explainer: Explainer, first: int, second: int) -> list[str]:
    planes, names = [heat[0], heat[1]], [str(first), str(second)]
    if explainer in PROPAGATING:
        planes.append(heat[0] - heat[1])
        names.append(f"{first} minus {second}")
    scale = max(float(np.abs(plane).max()) for plane in planes)
    return [
        picture(images.colour(plane / scale), f"{explainer.title} for {name}", "pixels large")
        for plane, name in zip(planes, names, strict=True)
    ]


def prototypes(study: Study) -> Section:
    """Pictures that the network likes best."""
    return prototype_section(study.prototypes)


SECTIONS: tuple[Callable[[Study], Section], ...] = (
    evidence,
    side_by_side,
    methods,
    rivals,
    prototypes,
    conservation,
    timing,
)
