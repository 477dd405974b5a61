"""Heatmaps, overlays and picture files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from relprop import images, plot
from relprop.images import InputSpec
from small import values

Array = npt.NDArray[Any]

RED, WHITE, BLUE = (110, 0, 0), (255, 255, 255), (0, 0, 110)


def test_colours_are_symmetric() -> None:
    steps = np.linspace(-1, 1, 401)
    rgb = images.colour(steps).astype(int)
    assert rgb.shape == (401, 3)
    assert tuple(rgb[0]) == BLUE
    assert tuple(rgb[200]) == WHITE
    assert tuple(rgb[400]) == RED
    positive, negative = rgb[201:], rgb[:200]
    assert (positive[:, 0] >= positive[:, 2]).all()
    assert (negative[:, 2] >= negative[:, 0]).all()
    # The further from zero the darker, on both sides.
    assert (np.diff(rgb[200:].sum(1)) <= 0).all()
    assert (np.diff(rgb[:201].sum(1)) >= 0).all()
    assert np.array_equal(images.colour([-7, 9]), [BLUE, RED])


def test_heatmap() -> None:
    relevance = np.zeros((2, 3, 4), np.float32)
    relevance[:, 0, 1] = 1, 3  # 4 in sum: the largest
    relevance[:, 1, 2] = -4, 0
    relevance[:, 2, 3] = 5, -5  # nothing
    picture = images.heatmap(relevance)
    assert picture.dtype == np.uint8
    assert picture.shape == (3, 4, 3)
    assert tuple(picture[0, 1]) == RED
    assert tuple(picture[1, 2]) == BLUE
    rest = np.delete(picture.reshape(12, 3), [1, 6], axis=0)
    assert (rest == 255).all()
    assert np.array_equal(picture, images.heatmap(relevance.sum(0)))
    assert np.array_equal(picture, images.heatmap(1e-20 * relevance))


def test_nothing_is_white() -> None:
    assert (images.heatmap(np.zeros((3, 5, 5))) == 255).all()
    assert images.heatmap(np.zeros((3, 0, 5))).shape == (0, 5, 3)


def test_percentile() -> None:
    relevance = np.arange(1.0, 101.0).reshape(10, 10)
    relevance[9, 9] = 1e6
    assert images.normalised(relevance)[0, 0] == 1e-6
    half = images.normalised(relevance, 50)
    assert half[0, 0] == pytest.approx(1 / 50.5)
    assert (half.ravel()[50:] == 1).all()
    sparse = np.zeros((10, 10))
    sparse[0, :2] = -1, 2  # the percentile is zero: the largest value counts
    assert images.normalised(sparse, 50)[0, :3].tolist() == [-0.5, 1, 0]


def test_zoom() -> None:
    relevance = values(1, 3, 4)
    big = images.heatmap(relevance, zoom=3)
    assert big.shape == (9, 12, 3)
    assert np.array_equal(big[1::3, 1::3], images.heatmap(relevance))
    assert np.array_equal(big[::3, ::3], images.heatmap(relevance))


def test_overlay_shows_the_image_where_nothing_is_relevant() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    relevance = np.zeros((4, 4))
    empty = images.overlay(relevance, image)
    expected = 127.5 + image.mean(2) / 2
    assert np.abs(empty - expected[..., None]).max() <= 1
    relevance[1, 2] = 2
    covered = images.overlay(relevance, image, strength=1)
    assert tuple(covered[1, 2]) == RED
    assert (covered != empty).any(2).sum() == 1
    assert np.array_equal(images.overlay(relevance, image, strength=0), empty)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (1, 4, 5), (3, 4, 5)])
def test_grey_takes_images_of_all_kinds(shape: tuple[int, ...]) -> None:
    bytes_ = np.linspace(0, 255, np.prod(shape)).astype(np.uint8).reshape(shape)
    grey = images.grey(bytes_)
    assert grey.shape == (4, 5, 3)
    assert (grey == grey[..., :1]).all()
    stretched = images.grey(bytes_ / 100 - 3)
    assert stretched.min() == 0
    assert stretched.max() == 255
    assert images.grey(np.full(shape, 0.5)).max() == 0


def test_grid() -> None:
    one, two = np.full((2, 3, 3), 1, np.uint8), np.full((2, 3, 3), 2, np.uint8)
    whole = images.grid([[one, two], [two]], gap=1)
    assert whole.shape == (7, 9, 3)
    assert (whole[1:3, 1:4] == 1).all()
    assert (whole[1:3, 5:8] == 2).all()
    assert (whole[4:6, 1:4] == 2).all()
    assert (whole[4:6, 5:8] == 255).all()
    assert images.colour_key(9, 2).shape == (2, 9, 3)


BAD: list[tuple[Any, str]] = [
    (lambda: images.heatmap(np.zeros((1, 3, 4, 4))),
     r"relevance has shape \(1, 3, 4, 4\); accepted: \(C, H, W\) or \(H, W\), one sample"),
    (lambda: images.heatmap(np.zeros(9)), r"relevance has shape \(9,\); "),
    (lambda: images.heatmap(np.full((2, 2), np.nan)), "relevance has NaN or infinite values"),
    (lambda: images.heatmap(np.ones((2, 2)), percentile=0), "percentile = 0; accepted: above 0"),
    (lambda: images.heatmap(np.ones((2, 2)), percentile=101), "percentile = 101; "),
    (lambda: images.heatmap(np.ones((2, 2)), zoom=0), "zoom = 0; accepted: 1 or more"),
    (lambda: images.overlay(np.ones((2, 2)), np.ones((2, 3))),
     r"image has height and width \(2, 3\); accepted: \(2, 2\), as the relevance"),
    (lambda: images.overlay(np.ones((2, 2)), np.ones((2, 2)), strength=1.5), "strength = 1.5; "),
    (lambda: images.grey(np.ones((5, 5, 5))), r"image has shape \(5, 5, 5\); accepted: \(H, W\)"),
    (lambda: images.grid([]), r"pictures have shapes \[\]; accepted: one shape"),
    (lambda: images.grid([[np.ones((2, 2, 3), np.uint8), np.ones((2, 3, 3), np.uint8)]]),
     "pictures have shapes "),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), BAD)
def test_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def save(folder: Path, name: str, array: Array, **options: Any) -> Path:
    Image.fromarray(array).save(folder / name, **options)
    return folder / name


def test_png_round_trip(tmp_path: Path) -> None:
    picture = images.heatmap(values(1, 3, 20, 30))
    images.save_png(tmp_path / "a.png", picture)
    (tmp_path / "b.png").write_bytes(images.png_bytes(picture))
    for name in ("a.png", "b.png"):
        with Image.open(tmp_path / name) as image:
            assert np.array_equal(np.asarray(image), picture)


@pytest.fixture
def photograph(rng: np.random.Generator) -> Array:
    return rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def test_load_without_change(tmp_path: Path, photograph: Array) -> None:
    path = save(tmp_path, "p.png", photograph)
    x, shown = images.load_image(path, InputSpec())
    assert np.array_equal(shown, photograph)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    assert np.allclose(x, photograph.transpose(2, 0, 1) / 255, atol=1e-7)
    x, _ = images.load_image(path, InputSpec(range=255))
    assert np.array_equal(x, photograph.transpose(2, 0, 1))


def test_load_normalises(tmp_path: Path, photograph: Array) -> None:
    path = save(tmp_path, "p.png", photograph)
    mean, std = (103.0, 116.0, 123.0), (2.0, 4.0, 8.0)
    spec = InputSpec(channels="BGR", range=255, mean=mean, std=std)
    x, shown = images.load_image(path, spec)
    expected = (photograph[..., ::-1].astype(float) - mean) / std
    assert np.array_equal(x, expected.transpose(2, 0, 1).astype(np.float32))
    assert np.array_equal(shown, photograph)
    low, high = spec.bounds
    assert low.shape == high.shape == (3, 1, 1)
    assert np.array_equal(low[:, 0, 0], np.float32([-51.5, -29, -15.375]))
    assert (low <= x).all()
    assert (x <= high).all()


def test_load_scales_to_cover_and_crops_the_centre(tmp_path: Path) -> None:
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 200
    path = save(tmp_path, "wide.png", wide)
    x, shown = images.load_image(path, InputSpec(size=(4, 4)))
    assert x.shape == (3, 4, 4)
    assert (shown == 200).all()
    x, shown = images.load_image(path, InputSpec(size=(8, 8), range=255))
    assert shown.shape == (8, 8, 3)
    assert (shown[:, 3:5] == 200).all()


def test_load_grey(tmp_path: Path) -> None:
    digit = np.arange(64, dtype=np.uint8).reshape(8, 8)
    x, shown = images.load_image(save(tmp_path, "d.png", digit), InputSpec(channels="L", range=255))
    assert np.array_equal(x, digit[None])
    assert np.array_equal(shown, np.repeat(digit[..., None], 3, 2))


def test_transparency_is_white(tmp_path: Path) -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = 10, 20, 30, 255
    _, shown = images.load_image(save(tmp_path, "t.png", rgba), InputSpec())
    assert tuple(shown[0, 0]) == (10, 20, 30)
    assert (shown.reshape(4, 3)[1:] == 255).all()


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    exif = image.getexif()
    exif[0x0112] = 6  # orientation: turn by a quarter
    image.save(tmp_path / "p.png", exif=exif)
    _, shown = images.load_image(tmp_path / "p.png", InputSpec())
    assert np.array_equal(shown, np.rot90(np.asarray(image), -1))


def test_pictures_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        images.load_image(tmp_path / "none.png", InputSpec())
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png: not a picture that can be read"):
        images.load_image(tmp_path / "text.png", InputSpec())
    whole = save(tmp_path, "whole.png", np.full((40, 40, 3), 7, np.uint8)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.png: not a picture that can be read"):
        images.load_image(tmp_path / "cut.png", InputSpec())
    deep = save(tmp_path, "deep.png", np.full((4, 4), 40000, np.uint16))
    with pytest.raises(ValueError, match=r"deep\.png: mode I;16; accepted: 8 bits per channel"):
        images.load_image(deep, InputSpec())


def test_json_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("n01\ttench\nn02\tgreat white shark\n\n")
    raw = {"size": [24, 32], "channels": "BGR", "range": 255, "mean": [1, 2, 3], "std": 4,
           "labels": "classes.txt"}  # fmt: skip
    path = tmp_path / "net.json"
    path.write_text(json.dumps(raw))
    spec = InputSpec.from_json(path)
    assert spec == InputSpec(
        (24, 32), "BGR", 255, (1.0, 2.0, 3.0), (4.0,), tmp_path / "classes.txt"
    )
    assert spec.class_names() == ["tench", "great white shark", ""]
    assert images.spec_path(tmp_path / "net.onnx") == path
    assert images.spec_path(tmp_path / "other.onnx") is None
    exact = tmp_path / "net.onnx.json"
    exact.write_text("{}")
    assert images.spec_path(tmp_path / "net.onnx") == exact
    assert InputSpec.from_json(exact) == InputSpec()
    assert InputSpec().class_names() is None


BAD_JSON = [
    ("{", "not a readable JSON file: "),
    ("[1]", "list; accepted keys: channels, labels, mean, range, size, std"),
    ('{"sizes": 3}', r"\['sizes'\]; accepted keys: "),
    ('{"size": 224}', r"size = 224; accepted: \[height, width\]"),
    ('{"size": [0, 5]}', r"size = \(0, 5\); accepted: \(height, width\), both at least 1"),
    ('{"size": [true, 5]}', r"size = \[True, 5\]; accepted: \[height, width\]"),
    ('{"channels": "HSV"}', "channels = 'HSV'; accepted: 'RGB', 'BGR' or 'L'"),
    ('{"channels": ["RGB"]}', r"channels = \['RGB'\]; accepted: a string"),
    ('{"range": 2}', "range = 2.0; accepted: 1 or 255"),
    ('{"range": "255"}', "range = '255'; accepted: a number"),
    ('{"mean": [1, 2]}', "mean has 2 numbers; accepted: 1 or 3"),
    ('{"mean": []}', r"mean = \[\]; accepted: a number or a list of numbers"),
    ('{"mean": NaN}', r"mean = \(nan,\); accepted: finite numbers"),
    ('{"std": 0}', r"std = \(0.0,\); accepted: numbers above 0"),
    ('{"std": [1, 1, "1"]}', r"std = \[1, 1, '1'\]; accepted: a number or a list of numbers"),
    ('{"labels": 3}', "labels = 3; accepted: a string"),
]


@pytest.mark.parametrize(("text", "message"), BAD_JSON)
def test_bad_json(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"net.json: {message}"):
        InputSpec.from_json(path)


def test_labels_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^labels .*none\.txt: "):
        InputSpec(labels=tmp_path / "none.txt").class_names()
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ValueError, match=r"^labels .*bytes\.txt: "):
        InputSpec(labels=tmp_path / "bytes.txt").class_names()


def test_plot() -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    relevance, image = values(1, 3, 8, 8), values(2, 8, 8)
    axes = plot.show(relevance, title="cat")
    assert axes.get_title() == "cat"
    assert np.array_equal(axes.images[0].get_array(), images.heatmap(relevance))
    over = plot.show(relevance, image, ax=axes, percentile=90)
    assert over is axes
    shown = axes.images[1].get_array()
    assert np.array_equal(shown, images.overlay(relevance, image, percentile=90))
    figure = plot.show_grid([[relevance, relevance], [relevance]], titles=["a", "b"])
    assert [len(a.images) for a in figure.axes] == [1, 1, 1, 0]
    plt.close("all")
