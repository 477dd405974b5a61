"""``relprop prototype``: what it writes, what it prints, and one line for every mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from PIL import Image

import relprop as rp
from onnx_files import floats, model_of, node, small_network
from relprop.cli import main

Array = npt.NDArray[Any]
QUICK = ("--steps", "3", "--restarts", "2", "--threads", "1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a network for pictures (3, 8, 8), a generator and an RBM."""
    monkeypatch.chdir(tmp_path)
    onnx.save(small_network(), "net.onnx")
    generator = model_of(
        [node("Gemm", ["x", "w"], ["g"], "g", transB=1), node("Tanh", ["g"], ["y"], "t")],
        {"w": floats(48, 4)},
        shape=("N", 4),
    )
    onnx.save(generator, "gen.onnx")
    rp.experts.GaussianRBM(floats(192, 5), np.full(192, 0.5), np.zeros(5), np.full(192, 0.5)).save(
        "rbm.npz"
    )
    return tmp_path


def run(*arguments: str) -> None:
    assert main(("prototype", *arguments)) == 0


def read(path: str) -> Array:
    with Image.open(path) as image:
        return np.asarray(image)


SPEC = ("--mean", "0.5", "--std", "0.25")


def test_prototypes_are_those_of_the_library(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("net.onnx", "--class", "1,3-4", *QUICK, *SPEC, "--zoom", "1", "-o", "p.png", "--seed", "7")
    # A white pixel is four times as far from a black one for the model as it is in the picture.
    found = rp.ActivationMaximization(rp.from_onnx("net.onnx"), rp.experts.L2(0.001 / 16)).maximize(
        [1, 3, 4], steps=3, restarts=2, seed=7, rate=0.2, noise=0.4, box=(-2.0, 2.0), n_threads=1
    )
    grid = read("p.png")
    assert grid.shape == (16, 4 + 3 * 12, 3)
    for k, x in enumerate(found.prototypes):
        shown = grid[4:12, 4 + 12 * k : 12 + 12 * k]
        wanted = np.round((x + 2) / 4 * 255).transpose(1, 2, 0)
        assert np.array_equal(shown, wanted)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:5] == ["class", "1", "p", "=", f"{found.probability[0]:.4f}"]
    assert lines[3] == "wrote p.png"


def test_priors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = []
    for options in (
        ["--l2", "0.1"],
        ["--tv", "0.1"],
        ["--expert", "rbm.npz", "--expert-weight", "0.1"],
        ["--generator", "gen.onnx", "--generator-range", "0.5,0.5", "--generator-picture", "3,4,4"],
        ["--jitter", "1", "--scaling", "1.1", "--blur", "0.5"],
        ["--logit", "--update", "normalized"],
    ):
        run("net.onnx", "--class", "2", *QUICK, *SPEC, *options)
        pictures.append(read("prototype.png").tobytes())
    assert len(set(pictures)) == len(pictures)
    text = capsys.readouterr().out
    assert all(name in text for name in ("l2 = ", "total_variation = ", "gaussian_rbm = "))


def test_layers_and_channels(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("net.onnx", "--layer", "relu", *QUICK, *SPEC)
    run("net.onnx", "--layer", "relu", "--channel", "0-1", *QUICK, *SPEC)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("layer relu ")
    assert [line[:21] for line in lines[2:4]] == [f"layer relu, channel {k}" for k in (0, 1)]


MISTAKES = [
    ([], "accepted: --class N"),
    (["--class", "1", "--layer", "relu"], "exclude each other"),
    (["--class", "5"], "target = 5; accepted: 0 to 4"),
    (["--class", "x"], "argument --class"),
    (["--class", "1", "--steps", "0"], "steps = 0"),
    (["--class", "1", "--l2", "-1"], "lam = -"),
    (["--class", "1", "--expert", "gen.onnx"], "gen.onnx: "),
    (["--class", "1", "--expert", "none.npz"], "none.npz"),
    (["--class", "1", "--expert", "rbm.npz", "--generator", "gen.onnx"], "exclude each other"),
    (["--class", "1", "--generator", "gen.onnx"], "the generator gives (48,)"),
    (["--class", "1", "--generator-range", "1"], "argument --generator-range"),
    (["--class", "1", "--zoom", "0"], "zoom = 0"),
    (["--layer", "nothing"], "no layer or output is called 'nothing'"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES, ids=lambda v: str(v)[:40])
def test_mistakes_are_one_line(
    folder: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prototype", "net.onnx", *QUICK[2:], *SPEC, *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("relprop: ")
    assert message in error
    assert error.count("\n") == 1
    assert not Path("prototype.png").exists()
