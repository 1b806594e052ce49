"""Numbers of frames that lie one by one: shapes, people who are missing, values that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from anchor_core.body import standin_body
from anchor_core.errors import AnchorError
from anchor_core.motion.formats.frames import PELVIS, natural, numbers, spread, stack, table, typical


@pytest.mark.parametrize(
    "value", [[[1, 2], [3, 4]], torch.tensor([[1.0, 2], [3, 4]]), np.array([[1, 2], [3, 4]])]
)
def test_numbers_keep_their_shape(value: Any) -> None:
    found = numbers(value, "x")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[1, 2], [3, 4]])


def nested(depth: int) -> list[Any]:
    """Two to the power of `depth` numbers in a few objects."""
    value: list[Any] = [0.0]
    for _ in range(depth):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        "text",
        None,
        {},
        ["1"],
        [[1], [1, 2]],
        10**400,
        [10**400],
        nested(60),
        np.ones(2, complex),
        torch.zeros(1).expand(2**40),
        torch.zeros(2, 2).to_sparse(),
        [[0.0] * 100000] * 100000,
    ],
    ids=lambda value: type(value).__name__,  # some of them are too large to be written out
)
def test_no_numbers(value: Any) -> None:
    with pytest.raises(AnchorError, match="'jaw' is not an array of numbers"):
        numbers(value, "jaw")


@pytest.mark.parametrize(
    ("shape", "width", "n_rows"),
    [
        ((63,), 63, 1),
        ((21, 3), 63, 1),
        ((5, 63), 63, 5),
        ((5, 21, 3), 63, 5),
        ((1, 3), 3, 1),
        ((5, 1, 3), 3, 5),
        ((0, 3), 3, 0),
    ],
)
def test_table_finds_the_rows(shape: tuple[int, ...], width: int, n_rows: int) -> None:
    values = np.arange(np.prod(shape)).reshape(shape)
    found = table(values, "x", width)
    assert found.shape == (n_rows, width)
    np.testing.assert_array_equal(found.reshape(-1), values.reshape(-1))


@pytest.mark.parametrize("shape", [(), (62,), (63, 2), (3, 20)])
def test_table_of_another_width(shape: tuple[int, ...]) -> None:
    with pytest.raises(AnchorError, match=r"'body' has shape .*: it needs 63 numbers per frame"):
        table(np.zeros(shape), "body", 63)


def test_stack_joins_frames_of_one_and_of_several_rows() -> None:
    columns = stack(
        [{"a": [1, 2, 3], "b": [[4]]}, {"a": np.ones((2, 3)), "b": [[5], [6]]}], {"a": 3, "b": None}
    )
    np.testing.assert_array_equal(columns["a"], [[1, 2, 3], [1, 1, 1], [1, 1, 1]])
    np.testing.assert_array_equal(columns["b"], [[4], [5], [6]])


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "has no frames"),
        ([{"a": [1], "b": [1]}, {"a": [1]}], "Frame 1 lacks b"),
        ([{"a": [[1], [2]], "b": [1]}], "Frame 0 holds 2 of a, 1 of b"),
        ([{"a": [1], "b": []}], "'b' is empty"),
        ([{"a": [1], "b": [1]}, {"a": [1], "b": [1, 2]}], r"'b' has shape .*|Frame 1 holds"),
    ],
)
def test_frames_that_do_not_fit(frames: list[Any], message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        stack(frames, {"a": 1, "b": None})


def test_spread_leaves_gaps_empty() -> None:
    found = spread({"a": np.array([[1.0], [2], [3]])}, np.array([7, 8, 11]))["a"][:, 0]
    np.testing.assert_array_equal(found, [1, 2, np.nan, np.nan, 3])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([3, 3, 4], "do not rise"),
        ([1, 2], "not as many"),
        ([0, 1, 10**8], "numbered from 0 to 100000000, more"),
    ],
)
def test_numbers_of_frames_that_cannot_be(ids: list[int], message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        spread({"a": np.zeros((3, 1))}, np.array(ids))


def test_typical_ignores_missing_rows() -> None:
    rows = np.array([[1.0, 10], [3, 30], [2, 20], [np.nan, np.nan]])
    np.testing.assert_array_equal(typical(rows), [2, 20])
    np.testing.assert_array_equal(typical(rows[3:]), [0, 0])


def test_names_are_sorted_as_people_count() -> None:
    names = ["a10.json", "a9.json", "b1.json", "10", "9", "9" * 6000]
    assert sorted(names[:3], key=natural) == ["a9.json", "a10.json", "b1.json"]
    assert sorted(names[3:], key=natural) == ["9", "10", "9" * 6000]


def test_the_pelvis_is_the_stand_ins() -> None:
    np.testing.assert_allclose(standin_body().joint_template.reshape(-1, 3)[0], PELVIS, atol=1e-4)
