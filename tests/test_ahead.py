"""What runs ahead: order, bounds, errors and ends, with makers and takers of any speed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from anchor_core import ahead as module
from anchor_core.ahead import Growing, in_order, worker_count
from anchor_core.errors import AnchorError
from anchor_core.frames import FrameFile


def threads() -> set[str]:
    """Names of this module's threads that are alive."""
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("anchor-")}


class Maker:
    """Counts up; knows how far it is."""

    def __init__(self, count: int) -> None:
        self.count, self.begun = count, 0

    def __iter__(self) -> Iterator[int]:
        for number in range(self.count):
            self.begun += 1
            yield number


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order(workers: int) -> None:
    def square(number: int) -> int:
        time.sleep(0.003 * (number % 3))
        return number * number

    assert list(in_order(square, iter(range(30)), workers)) == [number**2 for number in range(30)]
    assert not threads()


def test_few_results_wait() -> None:
    maker, done = Maker(60), 0
    for _ in in_order(lambda number: number, maker, 3, spare=2):
        done += 1
        assert maker.begun - done < 5
    assert done == 60


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_error_in_order_is_raised(workers: int) -> None:
    begun = []

    def fragile(number: int) -> int:
        begun.append(number)
        time.sleep(0.02 if number == 2 else 0)
        if number >= 2:
            raise ValueError(f"no {number}")
        return number

    results, seen = in_order(fragile, range(1000), workers), []
    with pytest.raises(ValueError, match="no 2"):
        for result in results:
            seen.append(result)
    assert seen == [0, 1]
    assert len(begun) < 20
    assert not threads()


def test_a_timeout_of_the_function_is_its_error() -> None:
    def late(_: int) -> None:
        raise TimeoutError("late")

    with pytest.raises(TimeoutError, match="late"):
        list(in_order(late, range(3), 2))


def test_results_that_are_waited_for_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may come just when a wait is over."""
    monkeypatch.setattr(module, "_WAIT_S", 1e-5)

    def slow(number: int) -> int:
        time.sleep(number % 20 * 1e-5)
        return number

    assert list(in_order(slow, range(3000), 2)) == list(range(3000))


def test_workers_end_when_the_taker_stops() -> None:
    results = in_order(lambda number: time.sleep(0.001), range(10000), 2)
    next(results)
    results.close()
    assert not threads()


def test_torch_computes_on_one_core_in_workers_and_on_its_own_elsewhere() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        inside = list(in_order(lambda _: torch.get_num_threads(), range(4), 2))
        with ThreadPoolExecutor(1) as later:
            after = [later.submit(torch.get_num_threads).result()]
        assert (inside, torch.get_num_threads(), after) == ([1] * 4, 2, [2])
        assert worker_count() == 2
    finally:
        torch.set_num_threads(before)


def test_no_workers_are_refused() -> None:
    with pytest.raises(AnchorError, match="workers is 0: at least 1 is needed"):
        in_order(int, [], 0)


def frame(number: int) -> torch.Tensor:
    """A picture that tells its number."""
    return torch.full((2, 3, 3), number, dtype=torch.uint8)


def parts(start: int, stop: int, pause: float = 0.001, fails_at: int = -1) -> Iterator[torch.Tensor]:
    """Two frames at a time."""
    for number in range(start, stop, 2):
        time.sleep(pause)
        if number == fails_at:
            raise ValueError(f"no {number}")
        yield torch.stack([frame(n) for n in range(number, min(number + 2, stop))])


@pytest.fixture
def file(tmp_path: Path) -> FrameFile:
    """An empty file of small pictures."""
    return FrameFile(tmp_path / "frames", (2, 3, 3))


def test_a_reader_waits_for_the_frames_that_it_asks_for(file: FrameFile) -> None:
    with Growing(file, 21, parts(0, 21)) as frames:
        assert (len(frames), frames.shape, frames.dtype) == (21, (21, 2, 3, 3), torch.uint8)
        assert torch.equal(frames[4], frame(4))
        assert frames[6:10][:, 0, 0, 0].tolist() == [6, 7, 8, 9]
        assert frames[torch.tensor([12, 3])][:, 0, 0, 0].tolist() == [12, 3]
        assert torch.equal(frames[-1], frame(20))
        assert frames[::-10][:, 0, 0, 0].tolist() == [20, 10, 0]
        assert len(frames[5:5]) == 0
    assert not threads()


def test_early_frames_are_read_before_the_last_are_made(file: FrameFile) -> None:
    go = threading.Event()

    def waits() -> Iterator[torch.Tensor]:
        yield from parts(0, 4)
        assert go.wait(10)
        yield from parts(4, 8)

    with Growing(file, 8, waits()) as frames:
        assert torch.equal(frames[3], frame(3))
        assert len(file) == 4
        go.set()
    assert len(file) == 8


def test_the_block_ends_when_all_frames_are_there(file: FrameFile) -> None:
    with Growing(file, 30, parts(0, 30)):
        pass
    assert len(file) == 30
    assert torch.equal(file[29], frame(29))


def test_writing_goes_on_where_a_file_ends(file: FrameFile) -> None:
    file.append(torch.stack([frame(0), frame(1)]))
    with Growing(file, 6, parts(2, 6)) as frames:
        assert frames[:][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_readers_and_the_block_get_the_writers_error(file: FrameFile) -> None:
    with pytest.raises(ValueError, match="no 6"), Growing(file, 20, parts(0, 20, fails_at=6)) as frames:
        assert torch.equal(frames[5], frame(5))
        with pytest.raises(ValueError, match="no 6"):
            frames[7]
        assert torch.equal(frames[5], frame(5))  # what is there stays readable
    assert not threads()


def test_a_reader_that_raises_ends_the_writer(file: FrameFile) -> None:
    with pytest.raises(KeyboardInterrupt), Growing(file, 5000, parts(0, 5000)) as frames:
        frames[3]
        raise KeyboardInterrupt
    assert 4 <= len(file) < 1000
    assert not threads()


@pytest.mark.parametrize("host", [True, False])
def test_a_hosts_inference_mode_goes_over_to_the_writer(file: FrameFile, host: bool) -> None:
    modes: list[bool] = []

    def seen() -> Iterator[torch.Tensor]:
        for part in parts(0, 4):
            modes.append(torch.is_inference_mode_enabled())
            yield part

    with torch.inference_mode(host), Growing(file, 4, seen()):
        pass
    assert set(modes) == {host}


def test_frames_that_never_come_are_a_sentence(file: FrameFile) -> None:
    said = "frame 8 of 8 was asked for and only 6 were made"
    with pytest.raises(AnchorError, match=said), Growing(file, 8, parts(0, 6)) as frames:
        assert torch.equal(frames[5], frame(5))


def test_a_frame_outside_is_an_index_error(file: FrameFile) -> None:
    with Growing(file, 4, parts(0, 4)) as frames, pytest.raises(IndexError):
        frames[4]
