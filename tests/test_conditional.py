"""One heatmap per condition on channels: the oracle's masks, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import oracle
import relprop as rp
from cases import RULES
from public import explained_value
from small import image_net, inputs, map_net, vector_net
from synthetic import SYNTHETIC, sample_shape
from test_filtering import assert_close

Array = npt.NDArray[Any]


def masks_of(condition: Mapping[str, list[int]], shapes: Mapping[str, Any]) -> dict[str, Array]:
    masks = {}
    for name, channels in condition.items():
        masks[name] = np.zeros((1, *shapes[name]), np.float32)
        masks[name][:, channels] = 1
    return masks


CONDITIONS: dict[str, list[dict[str, list[int]]]] = {
    "plain": [{"conv1": [1]}, {"conv2": [0, 2], "conv1": [3]}, {}, {"dense1": [4]}],
    "fire": [{"expand3_0": [1, 2]}, {"expand1_0": [0]}, {"expand3_1": [1], "expand1_0": [2]}],
    "residual": [{"block1a": [0]}, {"relu1": [1]}, {"shortcut": [2]}],
}


@pytest.mark.parametrize("exclude_parallel", [False, True])
@pytest.mark.parametrize("network", CONDITIONS)
def test_conditions_are_masks_one_at_a_time(
    network: str, exclude_parallel: bool, rng: np.random.Generator
) -> None:
    source, conditions = SYNTHETIC[network](True), CONDITIONS[network]
    x = rng.standard_normal((3, *sample_shape(source))).astype(np.float32)
    model = rp.from_onnx(source)
    shapes = {name: shape for name, _, _, shape in model.network(x.shape[1:]).nodes}
    lrp = rp.LRP(model, rp.ZPlus())
    actual, output = lrp.attribute_conditional(
        x, conditions, exclude_parallel=exclude_parallel, return_output=True
    )
    assert actual.shape == (3, len(conditions), *x.shape[1:])
    assert np.array_equal(output, lrp.attribute(x, return_output=True)[1])
    exact = oracle.Network(source)
    for i, condition in enumerate(conditions):
        masks = masks_of(condition, shapes)
        expected = exact.explain(
            x, explained_value, RULES["z_plus"], masks=masks, exclude_parallel=exclude_parallel
        )
        assert_close(actual[:, i], expected.relevance)
        alone = lrp.attribute(x, mask=masks, exclude_parallel=exclude_parallel)
        assert np.array_equal(actual[:, i], alone)


def test_both_treatments_of_parallel_branches_differ() -> None:
    model = image_net()
    x = inputs(model, 2)
    lrp = rp.LRP(model, "alpha1_beta0")
    inside = lrp.attribute_conditional(x, [{"body/conv": []}])
    past = lrp.attribute_conditional(x, [{"body/conv": []}], exclude_parallel=False)
    assert not inside.any()
    assert past.any()
    channels = [{"stem.relu": [c]} for c in range(4)]
    parts = lrp.attribute_conditional(x, channels)
    assert_close(parts.sum(1), lrp.attribute(x))


def test_targets_starts_and_layers() -> None:
    model = vector_net()
    x = inputs(model, 3)
    lrp = rp.LRP(model, rp.Epsilon(0.1))
    conditions = [{"block.hidden": [1, 2]}, {"block.relu": [0]}]
    both, layers = lrp.attribute_conditional(
        x, conditions, [[0, 2]] * 3, return_layers=["block.hidden"]
    )
    assert layers["block.hidden"].shape == (3, 2, 5)
    for i, target in enumerate((0, 2)):
        single = lrp.attribute_conditional(x, [conditions[i]], target)
        assert np.array_equal(both[:, i], single[:, 0])
    start = model(x)
    all_of_it = lrp.attribute_conditional(x, conditions, start=start)
    for i, condition in enumerate(conditions):
        masks = masks_of(condition, {"block.hidden": (5,), "block.relu": (5,)})
        expected = lrp.attribute(x, start=start, mask=masks, exclude_parallel=True)
        assert np.array_equal(all_of_it[:, i], expected)
    one = lrp.attribute_conditional(x[:1], conditions, start=np.ones((1, 2, 3), np.float32))
    assert one.shape == (1, 2, 4)
    plane = map_net()
    image = inputs(plane, 1)
    assert rp.LRP(plane).attribute_conditional(image, [{"conv": [1]}], (1, 2, 3)).any()
    assert not rp.LRP(plane).attribute_conditional(image, [{"conv": [0]}], (1, 2, 3)).any()


BAD: dict[str, tuple[Any, str]] = {
    "mapping": ({"block.hidden": [1]}, "conditions is of type dict"),
    "empty": ([], "conditions is empty"),
    "entry": ([["block.hidden"]], "conditions[0] is of type list"),
    "layer": ([{"block.hiden": [1]}], "block.hiden"),
    "unused": ([{"unused": [1]}], "does not depend on it"),
    "channel": ([{"block.hidden": [5]}], "'block.hidden': channel 5; accepted: 0 to 4"),
    "negative": ([{"block.hidden": [-1]}], "channel -1"),
    "type": ([{"block.hidden": [0.5]}], "'block.hidden': channels [0.5]"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_conditions(name: str) -> None:
    conditions, words = BAD[name]
    model = vector_net()
    with pytest.raises((TypeError, ValueError)) as caught:
        rp.LRP(model).attribute_conditional(inputs(model, 2), conditions)
    assert words in str(caught.value)


def test_bad_numbers_of_targets() -> None:
    model = vector_net()
    with pytest.raises(ValueError, match="3 entries per sample for 1 conditions"):
        rp.LRP(model).attribute_conditional(inputs(model, 2), [{}], [[0, 1, 2]] * 2)
