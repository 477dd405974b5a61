"""The sections of the report. A new one is a function from Study to Section and a line in SECTIONS."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np

import charts
import relprop as rp
from explainers import ALPHA2_BETA1, EXPLAINERS, PROPAGATING, Explainer
from page import Floats, Section, digit, number, picture, table
from relprop import images
from study import Study, Timing

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
    <p>The digits are from the MNIST test set by Y. LeCun and C. Cortes, CC BY-SA 3.0, and so are the
    pictures of them on this page. <code>make demo</code> writes this page anew.</p>"""


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
    <p>For each of ten classes the network computes a score, the logit <i>f</i><sub>c</sub>(<i>x</i>);
    the largest wins, and softmax turns the scores into probabilities. The bars are the scores: up is
    for the class, down against it. All that follows explains the winner’s score, the red bar. One
    of these digits was chosen because the network hesitates: is it a 4 or a 9?</p>
    <div class="cards">{"".join(cards)}</div>
    <p class="note">Digits are shown in black on white; the network sees ink as 1 and paper as 0.</p>"""
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
    <p>Each picture below has one value per pixel: its <i>relevance</i> for the class that the network
    chose.</p>
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
    until it lies on the pixels. Each neuron passes on what it received to its inputs, in proportion to
    what they contributed, <i>x<sub>i</sub>w<sub>ij</sub></i>. Contributions can be positive (the input
    excited the neuron) or negative (it held the neuron back), and the rules differ in how they treat
    the two: α and β say how many shares each kind gets, with α − β = 1.</p>"""
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
            for c in (first, second)
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
    <p>The network calls this digit a {first}, but by a hair: <i>p</i> = {number(p[first], 3)} against
    {number(p[second], 3)} for {second}. LRP explains any class, not only the winner, and is linear in
    the score it starts from: the relevance for {first} minus that for {second} explains the difference
    of their scores. In the last column red pixels make it a {first} rather than a {second}, blue ones
    a {second} rather than a {first}.</p>
    <p>α1β0 finds the same strokes for both classes: it has no place for counter-evidence. The rules
    with two colours show the dispute, the composite most clearly: the pointed corner on the left makes
    it a 4 and speaks against a 9, the stroke at the upper right makes it a 9 and speaks against a 4.
    Sensitivity shows where a change of ink would matter, which is much the
    same for both; its squares have no difference that would explain anything.</p>
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


def conservation(study: Study) -> Section:
    """f(x) against the sums of the heatmaps, and where the rest went."""
    reports = study.conservation
    stages, lines = _flow(study)
    totals = [_totals(e, reports[e.key]) for e in PROPAGATING]
    details = "".join(_layers(e, reports[e.key]) for e in PROPAGATING)
    body = f"""
    <p>LRP only hands on: if nothing leaked, the pixels’ relevance would add up to the score that was
    explained. The table compares the two, digit by digit.</p>
    {
        table(
            ["digit", "<i>f</i>(<i>x</i>)", *(f"Σ<i>R</i>, {e.title}" for e in PROPAGATING)],
            _sums(study),
            "numbers",
        )
    }
    <p>The sums stray, and relprop accounts for it. Three things can take relevance away or add to it:
    </p>
    <ul>
    <li>the <b>bias</b> of a neuron is a contribution that belongs to no input; its share ends there
    (or, where it inhibits, is given back);</li>
    <li>the <b>stabilizer</b> ε, which keeps denominators away from zero, takes a trace;</li>
    <li>a <b>zero denominator</b>: a neuron that nothing inhibits has nobody to take the β part back
    from. The α part is handed out all the same, so the sum grows; where nothing excites, it
    shrinks. α1β0 does not meet this here, since what has relevance behind a ReLU was excited by
    something; the larger α, the dearer it is.</li>
    </ul>
    <figure>{charts.flow(stages, lines)}
    <figcaption>Relevance of all {len(study.x)} digits on its way from the score to the pixels, in
    percent of Σ<i>f</i>(<i>x</i>).</figcaption></figure>
    {
        table(
            [
                "all digits",
                "Σ<i>f</i>(<i>x</i>)",
                "bias",
                "ε",
                "zero denominators",
                "Σ<i>R</i> at the pixels",
            ],
            totals,
            "numbers",
        )
    }
    <p>Each row adds up: the score, less the three leaks, is what arrives at the pixels. Below, the same
    for every layer; a negative number is relevance that the layer gained.</p>
    {details}
    <p class="note">The sum of a sensitivity map is not compared with anything: it is the squared
    length of the gradient, not a share of the score. All sums are of float32 relevance, added in
    float64.</p>"""
    return Section("conservation", "Does it add up?", body)


def _sums(study: Study) -> list[list[str]]:
    rows = []
    for i, label in enumerate(study.label):
        cells = [
            f"<td data-digit='{i}' data-method='{e.key}'>{number(study.sums[e.key][i], 3)}</td>"
            for e in PROPAGATING
        ]
        score = f"<td data-digit='{i}' data-method='score'>{number(study.score[i], 3)}</td>"
        rows.append([str(label), score, *cells])
    return rows


def _totals(explainer: Explainer, report: rp.Conservation) -> list[str]:
    values = {
        "start": report.start,
        "bias": report.bias,
        "epsilon": report.epsilon,
        "zero": report.zero,
        "input": report.input,
    }
    cells = [
        f"<td data-total='{name}' data-method='{explainer.key}'>{number(value, 3)}</td>"
        for name, value in values.items()
    ]
    return [explainer.title, *cells]


def _layers(explainer: Explainer, report: rp.Conservation) -> str:
    """Layers that only route relevance (flatten, max pooling) lose nothing and are left out."""
    rows = [
        [
            layer.name,
            *(
                number(value, 3)
                for value in (
                    layer.relevance_out,
                    layer.bias,
                    layer.epsilon,
                    layer.zero,
                    layer.relevance_in,
                )
            ),
        ]
        for layer in report.layers
        if layer.op in ("conv", "dense")
    ]
    opened = " open" if explainer is ALPHA2_BETA1 else ""
    header = ["layer", "received", "bias", "ε", "zero denominators", "handed on"]
    return (
        f"<details{opened}><summary>{explainer.title}, layer by layer</summary>"
        f"{table(header, rows, 'numbers')}</details>"
    )


def _flow(study: Study) -> tuple[list[str], dict[str, list[float]]]:
    stages: list[str] = []
    lines: dict[str, list[float]] = {}
    for e in PROPAGATING:
        report = study.conservation[e.key]
        linear = [layer for layer in report.layers if layer.op in ("conv", "dense")]
        stages = [*(layer.name for layer in linear), "pixels"]
        values = [*(layer.relevance_out for layer in linear), report.input]
        lines[e.title] = [100 * value / report.start for value in values]
    return stages, lines


def timing(study: Study) -> Section:
    """What a prediction and each explanation cost."""
    count = len(study.x)
    titles = {"predict": "prediction alone", **{e.key: e.title for e in EXPLAINERS}}
    rows = [
        [
            title,
            _time(study.single[key], 1),
            number(study.single[key].median / study.single["predict"].median, 1),
            _time(study.batch[key], count),
            number(study.batch[key].median / study.batch["predict"].median, 1),
        ]
        for key, title in titles.items()
    ]
    header = [
        "",
        "one digit, ms",
        "times prediction",
        f"of {count} at once, ms each",
        "times prediction",
    ]
    body = f"""
    <p>An explanation runs the network forward, keeps what every layer saw, and runs it backward once:
    it costs a small multiple of a prediction.</p>
    {table(header, rows, "numbers")}
    <p class="note">Wall time of a whole call from Python, prediction included: median of
    {study.rounds} calls (in brackets the middle half of them) after a warm-up, all methods taking
    turns. One thread, {rp.info()["isa"]} kernels,
    {_processor()}. The network has {study.model.parameter_count:,} parameters. So small a network is
    dominated by the cost of a call; large ones are compared with other libraries by
    <code>make bench</code>.</p>"""
    return Section("time", "What it costs", body)


def _time(timing: Timing, digits: int) -> str:
    low, median, high = (number(v / digits, 3) for v in (timing.low, timing.median, timing.high))
    return f"{median} <small>({low} to {high})</small>"


def _processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


SECTIONS: tuple[Callable[[Study], Section], ...] = (
    evidence,
    side_by_side,
    methods,
    rivals,
    conservation,
    timing,
)
