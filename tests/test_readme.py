"""What the README and the other texts show must run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from relprop import cli

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(text: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_python_runs(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of one text, one after the other, as a reader would."""
    monkeypatch.chdir(tmp_path)  # they write pictures
    names: dict[str, Any] = {}
    for block in blocks(text):
        exec(compile(block, str(text), "exec"), names)


def test_the_readme_has_python() -> None:
    assert len(blocks(ROOT / "README.md")) >= 2


def test_commands_of_the_readme_exist() -> None:
    lines = re.findall(r"^    (relprop .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(lines) >= 3
    for line in lines:
        options = cli._parser().parse_args(shlex.split(line)[1:])
        assert callable(options.run)
