"""The ``relprop`` command: what it writes, what it prints, and one line for every mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from PIL import Image

import relprop as rp
from onnx_files import floats, model_of, node, small_network
from relprop import images
from relprop.cli import main

Array = npt.NDArray[Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> Path:
    """The current folder, with a small network, its JSON and two pictures."""
    monkeypatch.chdir(tmp_path)
    onnx.save(small_network(), "net.onnx")
    Path("names.txt").write_text("n0\tant\nn1\tbee\nn2\tcat\nn3\tdog\nn4\teel\n")
    Path("net.json").write_text(json.dumps({"mean": 0.5, "std": 0.25, "labels": "names.txt"}))
    for name in ("one", "two"):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(f"{name}.png")
    return tmp_path


def run(*arguments: str) -> None:
    assert main(arguments) == 0


def read(path: str) -> Array:
    with Image.open(path) as image:
        return np.asarray(image)


def loaded(name: str, **changes: Any) -> tuple[Array, Array]:
    spec = images.InputSpec(**{"size": (8, 8), "mean": (0.5,), "std": (0.25,), **changes})
    x, shown = images.load_image(name, spec)
    return x[None], shown


def test_explain(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("explain", "net.onnx", "one.png")
    x, shown = loaded("one.png")
    model = rp.from_onnx("net.onnx")
    f = model(x)[0]
    relevance = rp.LRP(model, "epsilon_plus_flat").attribute(x)[0]
    assert np.array_equal(read("heat.png"), images.heatmap(relevance, percentile=99))
    assert np.array_equal(read("heat_overlay.png"), images.overlay(relevance, shown, percentile=99))
    lines = capsys.readouterr().out.splitlines()
    best = int(f.argmax())
    name = ["ant", "bee", "cat", "dog", "eel"][best]
    assert lines[0] == "one.png"
    assert lines[1].split()[:2] == [str(best), name]
    assert lines[-2] == (
        f"  explained: {best} {name}, f = {f[best]:.4f}, sum of R = {relevance.sum():.4f}"
    )
    assert lines[-1] == "  wrote heat.png and heat_overlay.png"


METHODS: list[tuple[list[str], Any]] = [
    (["--method", "sensitivity"], rp.Sensitivity),
    (["--method", "gradient"], rp.Gradient),
    (["--method", "gradient_times_input"], rp.GradientTimesInput),
    (["--rule", "alpha2_beta1"], lambda m: rp.LRP(m, "alpha2_beta1")),
    (["--rule", "alpha_beta:3,2"], lambda m: rp.LRP(m, rp.AlphaBeta(3, 2))),
    (["--rule", "gamma:0.5"], lambda m: rp.LRP(m, rp.Gamma(0.5))),
    (["--rule", "gamma"], lambda m: rp.LRP(m, rp.Gamma())),
    (["--rule", "epsilon:0.01"], lambda m: rp.LRP(m, rp.Epsilon(0.01))),
    (["--rule", "z_plus"], lambda m: rp.LRP(m, rp.ZPlus())),
    (
        ["--rule", "epsilon_gamma_box"],
        lambda m: rp.LRP(m, rp.composites.epsilon_gamma_box(-2, 2)),
    ),
]


@pytest.mark.parametrize(("options", "method"), METHODS, ids=lambda v: str(v)[:40])
def test_methods_and_rules(folder: Path, options: list[str], method: Any) -> None:
    run("explain", "net.onnx", "one.png", *options, "--percentile", "100", "--target", "2")
    relevance = method(rp.from_onnx("net.onnx")).attribute(loaded("one.png")[0], 2)[0]
    assert np.array_equal(read("heat.png"), images.heatmap(relevance))


def test_several_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "more").mkdir()
    (folder / "more/one.png").write_bytes((folder / "two.png").read_bytes())
    run("explain", "net.onnx", "one.png", "two.png", "more/one.png", "-o", "h.png")
    names = {path.name for path in folder.glob("h_*.png")}
    assert names == {
        f"h_{stem}{end}.png" for stem in ("one", "two", "one_2") for end in ("", "_overlay")
    }
    assert (folder / "h_one_2.png").read_bytes() == (folder / "h_two.png").read_bytes()
    assert (folder / "h_one.png").read_bytes() != (folder / "h_two.png").read_bytes()
    assert capsys.readouterr().err == ""


def test_predict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("predict", "net.onnx", "one.png", "two.png", "--top", "2")
    f = rp.from_onnx("net.onnx")(loaded("two.png")[0])[0].astype(float)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "one.png"
    assert lines[3] == "two.png"
    assert len(lines) == 6
    p = np.exp(f - f.max()) / np.exp(f - f.max()).sum()
    for line, k in zip(lines[4:], np.argsort(-f), strict=False):
        assert line.split()[0] == str(k)
        assert f"p = {p[k]:.4f}" in line
        assert f"f = {f[k]:.4f}" in line


def test_options_go_before_the_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "more.txt").write_text("A\nB\nC\nD\nE\n")
    run(
        "explain", "net.onnx", "one.png", "--mean", "100,110,120", "--scale", "50", "--bgr",
        "--input-range", "255", "--labels", "more.txt", "--target", "3",
    )  # fmt: skip
    x, _ = loaded("one.png", mean=(100.0, 110.0, 120.0), std=(50.0,), channels="BGR", range=255)
    relevance = rp.LRP(rp.from_onnx("net.onnx"), "epsilon_plus_flat").attribute(x, 3)[0]
    assert np.array_equal(read("heat.png"), images.heatmap(relevance, percentile=99))
    assert "explained: 3 D, f = " in capsys.readouterr().out


def test_missing_normalisation_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "net.json").unlink()
    run("predict", "net.onnx", "one.png")
    assert capsys.readouterr().err == (
        "relprop: no JSON beside the model and no --mean, --std or --input-range: "
        "pixels are scaled to [0, 1]\n"
    )
    run("predict", "net.onnx", "one.png", "--input-range", "1")
    assert capsys.readouterr().err == ""


def map_network() -> onnx.ModelProto:
    """Any image size; two outputs that are maps."""
    nodes = [node("Conv", ["x", "w"], ["y"], "first"), node("Relu", ["y"], ["z"], "second")]
    return model_of(nodes, {"w": floats(2, 3, 3, 3)}, shape=("N", 3, "H", "W"), outputs=("y", "z"))


def test_outputs_that_are_maps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(map_network(), "map.onnx")
    both = ("explain", "map.onnx", "one.png", "--input-range", "1")
    x, _ = loaded("one.png", mean=(0.0,), std=(1.0,))
    run(*both)
    model = rp.from_onnx("map.onnx")
    lrp = rp.LRP(model, "epsilon_plus_flat")
    relevance = lrp.attribute(x, start=model(x))[0]
    assert np.array_equal(read("heat.png"), images.heatmap(relevance, percentile=99))
    assert "explained: all of the output (2, 6, 6)" in capsys.readouterr().out
    run(*both, "--target", "1,2,3")
    relevance = lrp.attribute(x, (1, 2, 3))[0]
    assert np.array_equal(read("heat.png"), images.heatmap(relevance, percentile=99))
    assert "explained: position (1, 2, 3), f = " in capsys.readouterr().out
    run(*both, "--output", "z", "--size", "5")
    assert "explained: all of the output (2, 3, 3)" in capsys.readouterr().out
    run("info", "map.onnx", "--size", "9x7")
    assert "2x7x5" in capsys.readouterr().out


def test_info(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("info")
    text = capsys.readouterr().out
    assert [line.split()[0] for line in text.splitlines()] == list(rp.info())
    assert rp.info()["isa"] in text
    run("info", "net.onnx", "--rule", "gamma")
    text = capsys.readouterr().out
    assert text.rstrip("\n") == rp.from_onnx("net.onnx").summary(rp.Gamma())
    assert "conv" in text


def test_digits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, label = rp.zoo.sample_digits()
    pixels = np.round(x[7, 0] * 255).astype(np.uint8)
    Image.fromarray(pixels).save("digit.png")
    run("explain", "digits", "digit.png", "--percentile", "100")
    out, err = capsys.readouterr()
    assert err == ""
    assert f"explained: class {label[7]}, f = " in out
    relevance = rp.LRP(rp.zoo.digits(), "epsilon_plus_flat").attribute(x[7:8])[0]
    assert np.array_equal(read("heat.png"), images.heatmap(relevance))
    run("predict", "digits", "digit.png", "--top", "1")
    assert capsys.readouterr().out.split()[1:3] == ["class", str(label[7])]
    run("info", "digits", "--rule", "epsilon_gamma_box")
    assert "z_box" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--cmake-dir", "--include-dir"])
def test_paths_of_the_cpp_side(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(option)
    path = Path(capsys.readouterr().out.strip())
    file = {"--cmake-dir": "relpropConfig.cmake", "--include-dir": "relprop/relprop.h"}[option]
    assert (path / file).is_file()


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    run("--version")
    assert capsys.readouterr().out == f"relprop {rp.__version__}\n"
    run("explain", "--help")
    assert "--rule" in capsys.readouterr().out


ERRORS = [
    ([], "the following arguments are required: COMMAND (try 'relprop --help')"),
    (["explode"], "argument COMMAND: invalid choice: 'explode' "),
    (["explain"], "the following arguments are required: MODEL, IMAGE "),
    (["explain", "net.onnx"], "the following arguments are required: IMAGE "),
    (["explain", "none.onnx", "one.png"], "none.onnx"),
    (["explain", "one.png", "one.png"], "not an ONNX"),
    (["explain", "digits", "one.png", "--output", "y"], "--output belongs to ONNX files; digits"),
    (["explain", "net.onnx", "none.png"], "none.png"),
    (["explain", "net.onnx", "names.txt"], "names.txt: not a picture that can be read: "),
    (["explain", "net.onnx", "one.png", "--target", "5"], "output 'y': target = 5; accepted: 0 to"),
    (["explain", "net.onnx", "one.png", "--target", "x"], "argument --target: "),
    (["explain", "net.onnx", "one.png", "--rule", "epsilon_plus_flt"], "no composite is called "),
    (["explain", "net.onnx", "one.png", "--rule", "gamma:-1"], "Gamma: gamma = -1.0; accepted: "),
    (["explain", "net.onnx", "one.png", "--rule", "gamma:a"], "could not convert string to float"),
    (["explain", "net.onnx", "one.png", "--rule", "z_plus:1"], "rule 'z_plus:1': "),
    (["explain", "net.onnx", "one.png", "--rule", "alpha_beta"], "rule 'alpha_beta': "),
    (["explain", "net.onnx", "one.png", "--method", "lime"], "argument --method: invalid choice"),
    (
        ["explain", "net.onnx", "one.png", "--method", "gradient", "--rule", "flat"],
        "argument --rule: not allowed with argument --method",
    ),
    (["explain", "net.onnx", "one.png", "-o", "no/heat.png"], "[Errno 2] No such file"),
    (["explain", "net.onnx", "one.png", "--percentile", "0"], "percentile = 0.0; accepted: "),
    (["explain", "net.onnx", "one.png", "--output", "yy"], "no output, tensor or node is called"),
    (["explain", "net.onnx", "one.png", "--size", "9"], "input 'x': x has shape (1, 3, 9, 9); "),
    (["explain", "net.onnx", "one.png", "--grey"], "input 'x': x has shape (1, 1, 8, 8); "),
    (["explain", "net.onnx", "one.png", "--mean", "1,2"], "mean has 2 numbers; accepted: 1 or 3"),
    (["explain", "net.onnx", "one.png", "--std", "0"], "std = (0.0,); accepted: numbers above 0"),
    (["explain", "net.onnx", "one.png", "--labels", "none.txt"], "labels none.txt: "),
    (["explain", "net.onnx", "one.png", "--threads", "0"], "n_threads = 0; accepted: 1 or more"),
    (["explain", "bad.onnx", "one.png"], "bad.json: ['sise']; accepted keys: "),
    (["predict", "map.onnx", "one.png"], "output has shape (2, 6, 6); accepted: one value per"),
    (["explain", "map.onnx", "one.png", "--target", "1"], "output 'y' has shape (2, 6, 6) per"),
    (["info", "map.onnx"], "the input leaves sizes open, (3, None, None); give them with --size"),
    (["info", "vector.onnx", "--rule", "none"], "no composite is called 'none'; near names: "),
    (["predict", "vector.onnx", "one.png"], "the model's input is (4,); accepted: pictures of 1"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS, ids=lambda v: " ".join(v)[:60])
def test_errors_are_one_line(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(map_network(), "map.onnx")
    Path("map.json").write_text("{}")
    onnx.save(small_network(), "bad.onnx")
    Path("bad.json").write_text('{"sise": 3}')
    vector = model_of([node("Gemm", ["x", "v"], ["y"], "fc")], {"v": floats(4, 2)}, shape=("N", 4))
    onnx.save(vector, "vector.onnx")
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("relprop: ")
    assert message in err
    assert err.count("\n") == 1
    assert not list(folder.glob("heat*"))


def test_as_a_module(folder: Path) -> None:
    command = [sys.executable, "-m", "relprop"]
    good = subprocess.run(
        [*command, "predict", "net.onnx", "one.png"], capture_output=True, text=True, check=False
    )
    assert good.returncode == 0
    assert good.stdout.startswith("one.png\n")
    bad = subprocess.run(
        [*command, "predict", "none.onnx", "one.png"], capture_output=True, text=True, check=False
    )
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert len(bad.stderr.splitlines()) == 1
    assert "Traceback" not in bad.stderr


@pytest.mark.parametrize(
    ("network", "normalisation", "expected"),
    [
        (
            "squeezenet11_imagenet/squeezenet1_1_fp32.onnx",
            ["--bgr", "--input-range", "255", "--mean", "103.939,116.779,123.68"],
            {"coffee": 967, "bird": 19, "cat": 285, "dragonfly": 319, "parrot": 88, "hot_dog": 934},
        ),
        (
            "efficientnet_lite0_imagenet/efficientnet_lite0.onnx",
            ["--input-range", "255", "--mean", "127", "--std", "128"],
            {"coffee": 967, "bird": 19, "cat": 285, "dragonfly": 319, "parrot": 88, "hot_dog": 934},
        ),
    ],
    ids=["squeezenet", "efficientnet"],
)
def test_photographs(
    network: str,
    normalisation: list[str],
    expected: dict[str, int],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pictures = [str(data / f"natural_images/{name}_224.png") for name in expected]
    run("explain", str(data / network), *pictures, *normalisation, "-o", str(tmp_path / "h.png"))
    out = capsys.readouterr().out
    found = [int(line.split()[2].rstrip(",")) for line in out.splitlines() if "explained" in line]
    assert found == list(expected.values())
    for name in expected:
        picture = read(str(tmp_path / f"h_{name}_224.png")).astype(int)
        # Red where it counts: not an empty, a blue or a uniform picture.
        red = (picture[..., 0] - picture[..., 2]).clip(0)
        assert 0.02 < (red > 30).mean() < 0.7
        assert red.mean() > (picture[..., 2] - picture[..., 0]).clip(0).mean()
