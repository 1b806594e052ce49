"""Work that runs ahead of what waits for it: in a thread, in several threads, or into frames that grow.

Threads are enough for what is done here: torch, PyAV and file access let other threads run meanwhile.
Waits are short and repeated, so that Ctrl-C is seen on every system. What is local to a thread (torch's
gradient and inference modes) does not go over: functions and generators that need it enter it themselves.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .errors import AnchorError

if TYPE_CHECKING:
    import torch

    from .frames import FrameFile

logger = logging.getLogger("anchor")

T = TypeVar("T")
R = TypeVar("R")

_WAIT_S = 0.2  # a wait without an end cannot be interrupted on Windows
_MOST_WORKERS = 8
"""More would make frames faster than anything takes them, and each holds a frame's working memory."""


def ahead(items: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
    """The items, made in a thread of their own, at most `depth` of them ahead of the one that was taken last.

    An error of the maker arrives here, with its traceback, after the items that were made before it. When
    the taker stops, at the end, by an error or by closing this iterator, the maker is closed in its thread
    and the thread has ended. The first item is begun when the first one is asked for.
    """
    if depth < 1:
        raise AnchorError(f"the depth is {depth}: at least 1 item has to be made ahead")
    return _ahead(items, depth)


def _ahead(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    line: _Line[T] = _Line(depth)
    thread = threading.Thread(target=_fill, args=(items, line), name="anchor-ahead", daemon=True)
    thread.start()
    try:
        while line.has_next():
            yield line.take()
    finally:
        line.stop()
        _join(thread)


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
    while True:
        try:
            return future.result(timeout=_WAIT_S)
        except TimeoutError:
            if future.done():  # the function's own
                raise


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
        self._thread = threading.Thread(target=self._write, name="anchor-growing", daemon=True)

    def __enter__(self) -> Growing:
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
        try:
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


class _Line(Generic[T]):
    """Items between a thread that makes and one that takes."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._stopped = self._ended = False
        self._error: BaseException | None = None

    def wait_for_room(self) -> bool:
        """Of the maker: whether another item is wanted."""
        with self._changed:
            while len(self._items) >= self._depth and not self._stopped:
                self._changed.wait(_WAIT_S)
            return not self._stopped

    def put(self, item: T) -> None:
        """Of the maker."""
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def end(self, error: BaseException | None) -> None:
        """Of the maker: no more will come."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()
            if error is not None and self._stopped:
                logger.warning("what was made ahead could not be closed: %s", error)

    def has_next(self) -> bool:
        """Of the taker: waits; raises the maker's error behind the last item."""
        with self._changed:
            while not self._items and not self._ended:
                self._changed.wait(_WAIT_S)
            if not self._items and self._error is not None:
                raise self._error
            return bool(self._items)

    def take(self) -> T:
        """Of the taker."""
        with self._changed:
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def stop(self) -> None:
        """Of the taker: no more are wanted."""
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()


def _fill(items: Iterable[T], line: _Line[T]) -> None:
    error: BaseException | None = None
    try:
        for item in _closing(items, lambda: not line.wait_for_room()):
            line.put(item)
    except BaseException as raised:  # also what ends a program: the taker shall see it
        error = raised
    line.end(error)


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
