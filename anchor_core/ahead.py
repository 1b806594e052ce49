"""Work that runs ahead of what waits for it: in several threads, or into frames that grow.

Threads are enough for what is done here: torch, PyAV and file access let other threads run meanwhile.
Waits are short and repeated, so that Ctrl-C is seen on every system. Of what is local to a thread only
torch's inference mode goes over, and only to frames that grow: a host's networks may be among their makers.
Functions and generators that need more enter it themselves.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import AnchorError

if TYPE_CHECKING:
    import torch

    from .frames import FrameFile

T = TypeVar("T")
R = TypeVar("R")

_WAIT_S = 0.2  # a wait without an end cannot be interrupted on Windows
_MOST_WORKERS = 8
"""More would make frames faster than anything takes them, and each holds a frame's working memory."""


def in_order(
    function: Callable[[T], R], items: Iterable[T], workers: int, spare: int = 2
) -> Generator[R, None, None]:
    """function(item) of all items in their order, computed by `workers` threads with one torch thread each.

    At most workers + spare results are ready or being made. Items are taken in the caller's thread. The
    first error, in the order of the items, is raised; what was not begun by then is never begun. When this
    iterator is closed the threads have ended. One worker: all of it happens in the caller's thread, with
    torch's own threads.
    """
    if workers < 1:
        raise AnchorError(f"workers is {workers}: at least 1 is needed")
    if workers == 1:
        return (function(item) for item in items)
    return _in_order(function, items, workers, spare)


def _in_order(
    function: Callable[[T], R], items: Iterable[T], workers: int, spare: int
) -> Generator[R, None, None]:
    waiting: deque[Future[R]] = deque()
    pool = _single_threaded(workers)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= workers + spare:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=True)


def worker_count(most: int = _MOST_WORKERS) -> int:
    """Threads for `in_order` that take no more cores than torch itself would: 1 where it may use one."""
    import torch

    return max(1, min(most, torch.get_num_threads()))


def _single_threaded(workers: int) -> ThreadPoolExecutor:
    """A pool, all threads started, in which torch computes each operation on one core."""
    import torch

    ready = threading.Barrier(workers + 1)

    def begin() -> None:
        torch.get_num_threads()  # a thread takes over the process's number once, when it first asks
        torch.set_num_threads(1)  # of this thread, and of those that have not asked yet
        ready.wait()

    own = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="anchor-worker")
    for _ in range(workers):
        pool.submit(begin)
    ready.wait()
    torch.set_num_threads(own)  # for threads to come
    return pool


def _result(future: Future[R]) -> R:
    while not future.done():
        wait([future], _WAIT_S)
    return future.result()


class Growing:
    """`n_frames` frames that a thread is writing, to be read as if all were there: reads wait for theirs.

    frames: what they are written to and read from, see `FrameFile`; parts: an iterator of uint8 tensors
    (n, H, W, C), the frames from len(frames) on. In a `with` block the thread runs; at its end it has ended:
    after all frames, or, where the block ends by an error, after the part that it was at. Its own error is
    raised by every read of frames that will not come, and at the end of the block.
    """

    def __init__(self, frames: FrameFile, n_frames: int, parts: Iterable[torch.Tensor]) -> None:
        self._frames, self._n_frames, self._parts = frames, n_frames, parts
        self._changed = threading.Condition()
        self._stopped = self._ended = False
        self._error: BaseException | None = None
        self._inference = False
        self._thread = threading.Thread(target=self._write, name="anchor-growing", daemon=True)

    def __enter__(self) -> Growing:
        import torch

        # Weights that a host has read in this mode must not be moved or computed with outside of it.
        self._inference = torch.is_inference_mode_enabled()
        self._thread.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None:
            try:
                self.wait(self._n_frames)
            finally:
                self._stop()
        else:
            self._stop()

    def __len__(self) -> int:
        return self._n_frames

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C), N as it will be."""
        return (self._n_frames, *self._frames.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """torch.uint8."""
        return self._frames.dtype

    def __getitem__(self, index: int | slice | torch.Tensor) -> torch.Tensor:
        """Frames (H, W, C) or (n, H, W, C), once they are there."""
        found, needed = _resolved(index, self._n_frames)
        self.wait(needed)
        return self._frames[found]

    def wait(self, count: int) -> None:
        """Return when the first `count` frames are there; raise the thread's error if they will not be."""
        with self._changed:
            while len(self._frames) < count and not self._ended:
                self._changed.wait(_WAIT_S)
            if len(self._frames) >= count:
                return
        if self._error is not None:
            raise self._error
        raise AnchorError(
            f"frame {count} of {self._n_frames} was asked for and only {len(self._frames)} were made; "
            "start again: what is there is kept"
        )

    def _write(self) -> None:
        import torch

        try:
            with torch.inference_mode(self._inference):
                for part in _closing(self._parts, lambda: self._stopped):
                    self._frames.append(part)
                    with self._changed:
                        self._changed.notify_all()
        except BaseException as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _stop(self) -> None:
        self._stopped = True
        _join(self._thread)


def _resolved(index: Any, length: int) -> tuple[Any, int]:
    """The index without numbers that count from the end, and how many first frames it needs."""
    import torch

    numbers: Sequence[int]
    if isinstance(index, slice):
        numbers = range(length)[index]
    elif getattr(index, "ndim", 0):
        numbers = [range(length)[number] for number in index.tolist()]
    else:
        number = range(length)[index]  # an IndexError, as of a list
        return number, number + 1
    return torch.tensor(numbers, dtype=torch.int64), max(numbers, default=-1) + 1


def _closing(items: Iterable[T], stopped: Callable[[], bool]) -> Iterator[T]:
    """The items until `stopped`, asked before each is made; in the end the iterator is closed."""
    source = iter(items)
    try:
        while not stopped():
            try:
                item = next(source)
            except StopIteration:
                return
            yield item
            del item  # it may be large, and is the taker's now
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()


def _join(thread: threading.Thread) -> None:
    while thread.is_alive():
        thread.join(_WAIT_S)
