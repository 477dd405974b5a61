"""Where the relevance went and what it cost: the sections full of figures."""

from __future__ import annotations

import platform
from pathlib import Path

import charts
import relprop as rp
from explainers import ALPHA2_BETA1, EXPLAINERS, PROPAGATING, Explainer
from page import Doubles, Floats, Section, number, table
from study import Study, Timing


def conservation(study: Study) -> Section:
    """f(x) against the sums of the heatmaps, and where the rest went."""
    stages, lines = _flow(study)
    details = "".join(_layers(e, study.conservation[e.key]) for e in PROPAGATING)
    body = f"""
    <p>LRP only hands on: if nothing leaked, the pixels’ relevance would add up to the score that
    was explained. The table compares the two, digit by digit.</p>
    {_sums(study)}
    <p>The sums stray, and relprop accounts for it. Three things can take relevance away or add to
    it:</p>
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
    {_totals(study)}
    <p>Each row adds up: the score, less the three leaks, is what arrives at the pixels. Below, the
    same for every layer; a negative number is relevance that the layer gained.</p>
    {details}
    <p class="note">The sum of a sensitivity map is not compared with anything: it is the squared
    length of the gradient, not a share of the score. All sums are of float32 relevance, added in
    float64.</p>"""
    return Section("conservation", "Does it add up?", body)


def _sums(study: Study) -> str:
    """f(x) and ΣR of each digit."""
    shown: dict[str, Doubles | Floats] = {"score": study.score}
    shown |= {e.key: study.sums[e.key] for e in PROPAGATING}
    rows = [
        [
            str(label),
            *(
                f"<td data-digit='{i}' data-method='{key}'>{number(values[i], 3)}</td>"
                for key, values in shown.items()
            ),
        ]
        for i, label in enumerate(study.label)
    ]
    titles = (f"Σ<i>R</i>, {e.title}" for e in PROPAGATING)
    return table(["digit", "<i>f</i>(<i>x</i>)", *titles], rows, "numbers")


def _totals(study: Study) -> str:
    """The leaks of all digits and layers together."""
    columns = {
        "start": "Σ<i>f</i>(<i>x</i>)",
        "bias": "bias",
        "epsilon": "ε",
        "zero": "zero denominators",
        "input": "Σ<i>R</i> at the pixels",
    }
    rows = []
    for e in PROPAGATING:
        report = study.conservation[e.key]
        cells = (
            f"<td data-total='{name}' data-method='{e.key}'>{number(getattr(report, name), 3)}</td>"
            for name in columns
        )
        rows.append([e.title, *cells])
    return table(["all digits", *columns.values()], rows, "numbers")


def _layers(explainer: Explainer, report: rp.Conservation) -> str:
    """Layers that only route relevance (flatten, max pooling) lose nothing and are left out."""
    columns = {
        "relevance_out": "received",
        "bias": "bias",
        "epsilon": "ε",
        "zero": "zero denominators",
        "relevance_in": "handed on",
    }
    rows = [
        [layer.name, *(number(getattr(layer, name), 3) for name in columns)]
        for layer in _linear(report)
    ]
    opened = " open" if explainer is ALPHA2_BETA1 else ""
    return (
        f"<details{opened}><summary>{explainer.title}, layer by layer</summary>"
        f"{table(['layer', *columns.values()], rows, 'numbers')}</details>"
    )


def _linear(report: rp.Conservation) -> list[rp.LayerConservation]:
    return [layer for layer in report.layers if layer.op in ("conv", "dense")]


def _flow(study: Study) -> tuple[list[str], dict[str, list[float]]]:
    stages: list[str] = []
    lines: dict[str, list[float]] = {}
    for e in PROPAGATING:
        report = study.conservation[e.key]
        stages = [*(layer.name for layer in _linear(report)), "pixels"]
        values = [*(layer.relevance_out for layer in _linear(report)), report.input]
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
    ratio = "times prediction"
    header = ["", "one digit, ms", ratio, f"of {count} at once, ms each", ratio]
    body = f"""
    <p>An explanation runs the network forward, keeps what every layer saw, and runs it backward
    once: it costs a small multiple of a prediction.</p>
    {table(header, rows, "numbers")}
    <p class="note">Wall time of a whole call from Python, prediction included: median of
    {study.rounds} calls (in brackets the middle half of them) after a warm-up, all methods taking
    turns; one thread, {rp.info()["isa"]} kernels, {_processor()}. The network has
    {study.model.parameter_count:,} parameters. <code>make bench</code> measures large networks and
    compares relprop with other libraries.</p>"""
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
