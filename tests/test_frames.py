"""Frames in files: the same as a tensor, whatever is asked for; whole frames only, whatever happens."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.frames import FrameFile, Selected

SHAPE = (5, 6, 3)


@pytest.fixture
def clip() -> torch.Tensor:
    return torch.randint(0, 256, (9, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def file(tmp_path: Path, clip: torch.Tensor) -> FrameFile:
    frames = FrameFile(tmp_path / "frames.bin", SHAPE)
    frames.append(clip[:4])
    frames.append(clip[4:].numpy())
    return frames


INDICES: list[Any] = [
    0,
    -1,
    slice(None),
    slice(2, 7),
    slice(None, None, -2),
    slice(20, 30),
    torch.tensor([4, 5, 6, 1, 1, 8]),
    torch.tensor([-1, 0]),
    torch.tensor([], dtype=torch.int64),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_reads_like_a_tensor(index: Any, file: FrameFile, clip: torch.Tensor) -> None:
    wanted = clip[::2].flip(0) if index == slice(None, None, -2) else clip[index]
    assert torch.equal(file[index], wanted)
    assert file[index].dtype == file.dtype == torch.uint8


def test_tells_its_shape(file: FrameFile, tmp_path: Path) -> None:
    assert (len(file), file.shape) == (9, (9, *SHAPE))
    assert FrameFile(tmp_path / "none.bin", SHAPE).shape == (0, *SHAPE)


@pytest.mark.parametrize("index", [9, -10])
def test_ends_where_a_tensor_does(index: int, file: FrameFile) -> None:
    with pytest.raises(IndexError):
        file[index]
    with pytest.raises(IndexError):
        file[torch.tensor([index])]
    assert len(list(file)) == 9  # type: ignore[call-overload]


def test_goes_on_behind_the_last_whole_frame(file: FrameFile, clip: torch.Tensor) -> None:
    os.truncate(file.path, 6 * clip[0].numel() + 11)
    again = FrameFile(file.path, SHAPE)
    assert torch.equal(again[:], clip[:6])
    again.append(clip[6:])
    assert torch.equal(FrameFile(file.path, SHAPE)[:], clip)
    assert file.path.stat().st_size == clip.numel()


def test_forgets_from_the_end(file: FrameFile, clip: torch.Tensor) -> None:
    file.truncate(12)
    file.truncate(3)
    assert torch.equal(file[:], clip[:3])
    assert file.path.stat().st_size == clip[:3].numel()


def test_masks_and_empty_parts(tmp_path: Path) -> None:
    masks = FrameFile(tmp_path / "masks.bin", (4, 4))
    masks.append(torch.zeros(0, 4, 4, dtype=torch.uint8))
    assert len(masks) == 0
    masks.append(torch.full((2, 4, 4), 255, dtype=torch.uint8)[:, ::1].transpose(1, 2))
    assert masks[1].tolist() == [[255] * 4] * 4


@pytest.mark.parametrize("wrong", [torch.zeros(1, 5, 6, 4, dtype=torch.uint8), torch.zeros(1, *SHAPE)])
def test_other_frames_are_refused(wrong: torch.Tensor, file: FrameFile) -> None:
    with pytest.raises(AnchorError, match=r"cannot be put into frames.bin, whose frames are \(5, 6, 3\)"):
        file.append(wrong)


def test_a_full_disk_counts_no_frame(
    file: FrameFile, clip: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: FrameFile, data: memoryview) -> None:
        with file.path.open("ab") as stream:
            stream.write(data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(FrameFile, "_write", full)
        with pytest.raises(AnchorError, match=r"cannot be written \(No space left on device\): free space"):
            file.append(clip[:2])
    assert len(file) == len(FrameFile(file.path, SHAPE)) == 9
    file.append(clip[:2])
    assert torch.equal(file[9:], clip[:2])


def test_a_file_that_is_cut_meanwhile_is_said(file: FrameFile) -> None:
    os.truncate(file.path, 10)
    with pytest.raises(AnchorError, match="has become shorter while it was read"):
        file[3]


def test_reads_while_another_thread_writes(tmp_path: Path) -> None:
    frames, seen = FrameFile(tmp_path / "growing.bin", (64, 64)), []

    def read() -> None:
        while len(frames) < 200:
            if count := len(frames):
                seen.append((count - 1, int(frames[count - 1].max()), int(frames[count - 1].min())))

    reader = threading.Thread(target=read)
    reader.start()
    for value in range(200):
        frames.append(np.full((1, 64, 64), value, np.uint8))
    reader.join()
    assert all(high == low == number for number, high, low in seen)


def test_a_selection_is_a_clip(file: FrameFile, clip: torch.Tensor) -> None:
    numbers = [7, 2, 3]
    for source in (file, clip):
        some = Selected(source, numbers)
        assert (len(some), tuple(some.shape), some.dtype) == (3, (3, *SHAPE), torch.uint8)
        assert torch.equal(some[:], clip[numbers])
        assert torch.equal(some[1], clip[2])
        assert torch.equal(some[torch.tensor([2, 0])], clip[[3, 7]])
        assert torch.equal(Selected(some, torch.tensor([1]))[0], clip[2])
