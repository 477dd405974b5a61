"""Explains the digits that relprop ships and writes report.html, which needs nothing beside it.

python demo/report.py [--out FILE] [--rounds N]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import page
from explainers import EXPLAINERS
from relprop import images
from sections import SECTIONS, footer, lead
from study import Study, make_study

ZOOM = 4


def save_pictures(study: Study, folder: Path) -> None:
    """digits.png, all heatmaps side by side, and a row of heatmaps per method."""
    shown = [images.enlarge(page.digit_pixels(x[0]), ZOOM) for x in study.x]
    rows = [shown]
    for explainer in EXPLAINERS:
        heat = [images.heatmap(r, zoom=ZOOM) for r in study.heatmaps[explainer.key]]
        images.save_png(folder / f"{explainer.key}.png", images.grid([heat]))
        rows.append(heat)
    columns = [list(column) for column in zip(*rows, strict=True)]
    images.save_png(folder / "digits.png", images.grid(columns))


def write_report(out: Path, rounds: int) -> Study:
    """Writes the report and, beside it, its pictures as files."""
    study = make_study(rounds)
    sections = [make(study) for make in SECTIONS]
    html = page.render("Ten digits, explained", lead(), sections, footer())
    out.write_text(html, encoding="utf-8")
    save_pictures(study, out.parent)
    return study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=page.FOLDER / "report.html")
    parser.add_argument("--rounds", type=int, default=100, help="times each call is measured")
    options = parser.parse_args()
    write_report(options.out, options.rounds)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
