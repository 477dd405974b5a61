"""HTML: pictures and tables as text, and the page around the sections."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt

from relprop import images

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Section:
    """One part of the report. The body is HTML."""

    anchor: str
    title: str
    body: str


def picture(pixels: images.Pixels, text: str, kind: str = "pixels") -> str:
    """An inline PNG; style.css gives each kind its size."""
    data = base64.b64encode(images.png_bytes(pixels)).decode()
    return f'<img class="{kind}" src="data:image/png;base64,{data}" alt="{escape(text)}">'


def digit(x: Floats, text: str, kind: str = "pixels") -> str:
    """A digit (28, 28) in [0, 1], ink in black on white."""
    return picture(digit_pixels(x), text, kind)


def digit_pixels(x: Floats) -> images.Pixels:
    """Black ink on white, so that it stands beside heatmaps whose zero is white."""
    return np.repeat((255 - 255 * x).round().astype(np.uint8)[..., None], 3, axis=2)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """Cells are HTML; a cell that starts with ``<td`` or ``<th`` brings its own tag."""
    head = "".join(f"<th scope='col'>{cell}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(_cell(c, i) for i, c in enumerate(row))}</tr>" for row in rows)
    return (
        f"<div class='wide'><table class='{kind}'><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(cell: str, column: int) -> str:
    if cell.startswith(("<td", "<th")):
        return cell
    return f"<th scope='row'>{cell}</th>" if column == 0 else f"<td>{cell}</td>"


def number(value: float, digits: int = 2) -> str:
    """With a true minus sign, and no minus in front of nothing."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def render(title: str, lead: str, sections: Sequence[Section], footer: str) -> str:
    """The whole page: it refers to nothing outside itself."""
    links = "".join(f'<a href="#{s.anchor}">{s.title}</a>' for s in sections)
    parts = "".join(
        f'<section id="{s.anchor}"><h2>{s.title}</h2>{s.body}</section>' for s in sections
    )
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    return (
        "<!DOCTYPE html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}</style></head>\n"
        f"<body><header><h1>{title}</h1>{lead}<nav>{links}</nav></header>\n"
        f"<main>{parts}</main>\n<footer>{footer}</footer></body></html>\n"
    )
