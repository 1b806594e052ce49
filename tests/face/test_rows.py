"""Rows of numbers that only grow: in a file, in memory, and what a stopped work appends to them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.face.rows import RowFile, RowList, append_missing, unfinished


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_a_file_gives_back_the_numbers_bit_for_bit(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rows = torch.randn(5, *shape)
    rows[1] = math.nan
    file = RowFile(tmp_path / "rows", shape)
    assert (len(file), file[:].shape) == (0, (0, *shape))
    file.append(rows[:2])
    file.append(rows[2:])
    again = RowFile(tmp_path / "rows", shape)
    assert len(again) == 5
    assert torch.equal(again[:].view(torch.int32), rows.view(torch.int32))
    assert torch.equal(again[3:9], rows[3:])


def test_a_row_that_was_not_finished_does_not_count(tmp_path: Path) -> None:
    RowFile(tmp_path / "rows", (3,)).append(torch.ones(2, 3))
    with (tmp_path / "rows").open("ab") as file:
        file.write(b"12345")
    torn = RowFile(tmp_path / "rows", (3,))
    assert len(torn) == 2
    torn.append(torch.zeros(1, 3))
    assert torch.equal(RowFile(tmp_path / "rows", (3,))[:], torch.tensor([[1.0] * 3, [1.0] * 3, [0.0] * 3]))


def test_numbers_of_any_kind_and_order_are_written_as_float32(tmp_path: Path) -> None:
    file, rows = RowFile(tmp_path / "rows", (2, 3)), torch.randn(4, 3, 2).double().transpose(1, 2)
    file.append(rows)
    assert torch.equal(file[:], rows.float())


def test_a_file_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match="rows cannot be written"):
        RowFile(tmp_path / "none" / "rows", ()).append(torch.ones(1))


def test_rows_in_memory() -> None:
    rows = RowList(4)
    assert (len(rows), rows.most, rows[:].shape) == (0, 4, (0,))
    rows.append(torch.ones(1, 2))
    rows.append(torch.zeros(2, 2))
    assert torch.equal(rows[:], torch.tensor([[1.0, 1], [0, 0], [0, 0]]))
    assert torch.equal(rows[2:4], torch.zeros(1, 2))


def test_only_what_is_missing_is_appended() -> None:
    rows, made = RowList(8), torch.arange(8.0)
    append_missing(rows, 0, made[:3])
    append_missing(rows, 2, made[2:6])
    append_missing(rows, 0, made[:6])
    append_missing(rows, 6, made[6:])
    assert torch.equal(rows[:], made)


@pytest.mark.parametrize(
    ("done", "total", "firsts"),
    [(0, 7, [0, 3, 6]), (2, 7, [0, 3, 6]), (3, 7, [3, 6]), (6, 7, [6]), (7, 7, []), (0, 0, [])],
)
def test_groups_are_counted_from_the_front(done: int, total: int, firsts: list[int]) -> None:
    assert list(unfinished(done, total, 3)) == firsts
