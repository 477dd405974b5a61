"""The report of `make demo`, built with few timing rounds."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import relprop as rp
from relprop import images, zoo

DEMO = Path(__file__).resolve().parents[1] / "demo"
METHODS = {
    "alpha1_beta0": rp.AlphaBeta(1, 0),
    "alpha2_beta1": rp.AlphaBeta(2, 1),
    "alpha3_beta2": rp.AlphaBeta(3, 2),
    "epsilon_plus_flat": "epsilon_plus_flat",
}
SECTIONS = ("evidence", "heatmaps", "methods", "rivals", "prototypes", "conservation", "time")
# Shown with three decimals.
ROUNDING = 0.5e-3 * (1 + 1e-6)


class Report(NamedTuple):
    folder: Path
    text: str


class Reader(HTMLParser):
    """Collects tags in order and the text of table cells, and checks that tags nest."""

    VOID = frozenset({"meta", "img", "line", "rect", "polyline"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.cells: list[tuple[dict[str, str], str]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append((attributes, ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            attributes, text = self.cells[-1]
            self.cells[-1] = (attributes, text + data)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DEMO))
        before = set(sys.modules)
        import report as module

        folder = tmp_path_factory.mktemp("demo")
        module.write_report(folder / "report.html", rounds=3)
        yield Report(folder, (folder / "report.html").read_text(encoding="utf-8"))
        # The demo's modules have plain names; other tests must not find them.
        for name in set(sys.modules) - before:
            if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == DEMO:
                del sys.modules[name]


@pytest.fixture(scope="module")
def reader(report: Report) -> Reader:
    return Reader(report.text)


@pytest.fixture(scope="module")
def relevance() -> dict[str, Any]:
    x, label = zoo.sample_digits()
    return {k: rp.LRP(zoo.digits(), r).attribute(x, target=label) for k, r in METHODS.items()}


def test_report_is_self_contained(report: Report, reader: Reader) -> None:
    assert not re.search(r"https?:|@import|url\(", report.text)
    for tag, attributes in reader.tags:
        assert tag not in ("link", "script", "iframe", "object")
        assert attributes.get("src", "data:image/png").startswith("data:image/png")
        assert attributes.get("href", "#").startswith("#")


def test_links_lead_somewhere(reader: Reader) -> None:
    anchors = {attributes["id"] for _, attributes in reader.tags if "id" in attributes}
    links = [attributes["href"][1:] for tag, attributes in reader.tags if tag == "a"]
    assert len(links) >= len(SECTIONS)
    assert set(links) <= anchors


def test_every_section_is_there(reader: Reader) -> None:
    sections = [attributes["id"] for tag, attributes in reader.tags if tag == "section"]
    assert sections == list(SECTIONS)


def embedded(reader: Reader) -> dict[str, str]:
    return {a["alt"]: a["src"].partition(",")[2] for tag, a in reader.tags if tag == "img"}


def test_every_digit_and_heatmap_is_shown(reader: Reader, relevance: dict[str, Any]) -> None:
    shown = embedded(reader)
    titles = ("LRP α1β0", "LRP α2β1", "LRP α3β2", "LRP composite")
    for title, key in zip(titles, METHODS, strict=True):
        for i in range(10):
            expected = images.png_bytes(images.heatmap(relevance[key][i]))
            assert base64.b64decode(shown[f"{title} of digit {i}"]) == expected
    x, label = zoo.sample_digits()
    sensitivity = rp.Sensitivity(zoo.digits()).attribute(x, target=label)
    for i in range(10):
        expected = images.png_bytes(images.heatmap(sensitivity[i]))
        assert base64.b64decode(shown[f"Sensitivity of digit {i}"]) == expected
        assert f"digit {i}" in shown
    assert any(text.startswith("colour key") for text in shown)


def test_the_hesitant_digit_is_explained_for_both_classes(reader: Reader) -> None:
    x, _ = zoo.sample_digits()
    ranked = np.sort(zoo.digits()(x), axis=1)
    digit = int(np.argmin(ranked[:, -1] - ranked[:, -2]))
    second, first = np.argsort(zoo.digits()(x)[digit])[-2:]
    shown = embedded(reader)
    for title in ("LRP α1β0", "LRP α2β1", "LRP composite"):
        pictures = [shown[f"{title} for {c}"] for c in (first, second, f"{first} minus {second}")]
        assert len(set(pictures)) == 3


def value(text: str) -> float:
    return float(text.replace("−", "-"))


def test_sums_are_those_of_the_heatmaps(reader: Reader, relevance: dict[str, Any]) -> None:
    x, _ = zoo.sample_digits()
    expected = {key: r.sum(axis=(1, 2, 3), dtype=np.float64) for key, r in relevance.items()}
    expected["score"] = zoo.digits()(x).max(axis=1)
    cells = {
        (a["data-method"], int(a["data-digit"])): t for a, t in reader.cells if "data-digit" in a
    }
    assert len(cells) == 10 * len(expected)
    for (method, digit), text in cells.items():
        assert abs(value(text) - expected[method][digit]) <= ROUNDING


def test_leaks_are_those_of_the_conservation_report(reader: Reader) -> None:
    x, label = zoo.sample_digits()
    cells = {(a["data-method"], a["data-total"]): t for a, t in reader.cells if "data-total" in a}
    assert len(cells) == 5 * len(METHODS)
    for key, rule in METHODS.items():
        leaks = rp.LRP(zoo.digits(), rule).conservation(x, label)
        for name in ("start", "bias", "epsilon", "zero", "input"):
            assert abs(value(cells[key, name]) - getattr(leaks, name)) <= ROUNDING
        total = sum(value(cells[key, name]) for name in ("bias", "epsilon", "zero", "input"))
        # Five rounded figures, and float32 rounding of some hundreds of absolute relevance.
        assert abs(value(cells[key, "start"]) - total) <= 5 * ROUNDING + 1e-3


def test_pictures_are_saved_beside_the_report(report: Report) -> None:
    names = {"report.html", "digits.png", "sensitivity.png", *(f"{key}.png" for key in METHODS)}
    assert {path.name for path in report.folder.iterdir()} == names
    assert all(path.stat().st_size > 500 for path in report.folder.iterdir())
