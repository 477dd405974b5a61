"""From the JSON files of a run to its tables and plots, and into the documentation."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks import RESULTS, ROOT, plots
from benchmarks.records import Results, load
from benchmarks.tables import TABLES

DOCUMENTS = [ROOT / "docs" / name for name in ("performance.md", "migration.md")]
IMAGES = ROOT / "docs" / "images"
# <!-- table: name --> ... <!-- end --> is replaced; "name isa" takes the table of another run.
PLACE = re.compile(r"(<!-- table: (\w+)(?: (\w+))? -->\n).*?(<!-- end -->)", re.DOTALL)
# <!-- plot: name --> ... <!-- end --> becomes the picture, if there is one.
PICTURE = re.compile(r"(<!-- plot: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def text(results: Results) -> str:
    """All tables of a run."""
    parts = [f"## {name}\n\n{table(results)}\n" for name, table in TABLES.items()]
    return f"# relprop, {results.isa}\n\n" + "\n".join(parts)


def write(results: Results, folder: Path) -> Path:
    """report.md beside the plots."""
    plots.draw(results, folder)
    file = folder / "report.md"
    file.write_text(text(results))
    return file


def fill(document: str, runs: dict[str, Results], default: str) -> str:
    """The document with its tables as these runs, by instruction set, measured them.

    A table of a run that is not there stays as it is.

    Raises:
        KeyError: the document asks for a table that there is none of.
    """

    def table(found: re.Match[str]) -> str:
        begin, name, isa, end = found.groups()
        results = runs.get(isa or default)
        if results is None:
            return found[0]
        return f"{begin}{TABLES[name](results)}\n{end}"

    return PLACE.sub(table, document)


def show_plots(document: str, drawn: set[str]) -> str:
    """The document with the plots of these names."""

    def picture(found: re.Match[str]) -> str:
        begin, name, end = found.groups()
        text = f"![{plots.PLOTS[name].caption}](images/{name}.png)\n" if name in drawn else ""
        return f"{begin}{text}{end}"

    return PICTURE.sub(picture, document)


def measured() -> list[str]:
    """The instruction sets that have results."""
    return sorted({file.parent.name for file in RESULTS.glob("*/*.json")})


def update_documents(default: str) -> None:
    runs = {isa: load(RESULTS / isa) for isa in measured()}
    drawn = set()
    if default in runs:
        drawn = {file.stem for file in plots.draw(runs[default], IMAGES)}
    for document in DOCUMENTS:
        text = fill(document.read_text(), runs, default)
        document.write_text(show_plots(text, drawn) if default in runs else text)
