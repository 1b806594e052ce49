"""Frames and sound as an .mp4 that every browser plays: H.264, yuv420p, AAC, index at the front.

Frames are encoded as they come, none is kept. The matrix, the range and the primaries are those of
BT.709 and the file says so, hence a player shows the colours that went in. The sound is cut to the
length of the picture, or goes on in silence: both always end together, for players and editors differ in what
they do otherwise. A file appears under its name only when it is complete.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnchorError
from ..files import atomic_path
from .read import Sound, open_sound, resampled_sound

CRF = 16
"""Quality of x264; 18 counts as visually lossless, and generated video is often cut and encoded again."""
_MAX_DENOMINATOR = 1001  # the frame rates of television are n/1001
_BT709 = 1  # the number of BT.709 in H.273, for matrix, primaries and transfer alike
_LIMITED_RANGE = 1
_AAC_RATES = (44100, 48000)
"""Others become the last: AAC comes in blocks of 1024 samples, and many decoders play the last block to its
end, which at 16 kHz is two frames after the picture."""
_AAC_BITS_PER_CHANNEL = 96_000


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[np.ndarray],
    fps: float,
    audio: tuple[np.ndarray, int] | str | os.PathLike[str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> int:
    """Write an .mp4 and return its number of frames.

    frames: (H, W, 3) uint8 sRGB each, all of one size; an odd side is padded by its last line to an even one.
    audio: (waveform (C, T) float in [-1, 1], sample rate) with one or two channels, or a file with sound; it
    begins with the first frame.
    metadata: tags of the file ("comment", "title", ...). Raises AnchorError for what does not fit.
    """
    check_video_name(path)
    if not 1 <= fps <= 1000:
        raise AnchorError(f"fps is {fps}: give the frames per second, from 1 to 1000.")
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        raise AnchorError("There are no frames to write: give at least one.")
    check_frame(first, None, 0)
    sound = None if audio is None else _sound(audio)
    with atomic_path(path) as partial:
        return _write(partial, chain([first], stream), Fraction(fps), sound, metadata or {})


def check_video_name(path: str | os.PathLike[str]) -> None:
    """Raise AnchorError unless the file is called .mp4; to be asked before the frames are made."""
    if Path(path).suffix.lower() != ".mp4":
        raise AnchorError(f"Videos are written as .mp4, not as {Path(path).name!r}: change the name.")


def check_frame(frame: np.ndarray, size: tuple[int, ...] | None, index: int) -> None:
    """Raise AnchorError unless the frame is (H, W, 3) uint8, of `size` (H, W) where one is given."""
    shape = getattr(frame, "shape", None)
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or frame.dtype != np.uint8:
        got = f"shape {shape} and type {getattr(frame, 'dtype', type(frame).__name__)}"
        raise AnchorError(f"Frame {index} has {got}: frames must be (H, W, 3) uint8.")
    if size is not None and tuple(shape[:2]) != tuple(size):
        raise AnchorError(
            f"Frame {index} is {shape[1]} x {shape[0]} pixels and the first {size[1]} x {size[0]}: "
            "all frames of a video must have one size."
        )


def _write(
    path: Path,
    frames: Iterator[np.ndarray],
    fps: Fraction,
    sound: Sound | None,
    metadata: Mapping[str, str],
) -> int:
    import av

    fps = fps.limit_denominator(_MAX_DENOMINATOR)
    first = next(frames)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata.update(metadata)
        picture = _add_picture(container, first, fps)
        track = None if sound is None else _SoundTrack(container, sound)
        count = 0
        for frame in chain([first], frames):
            check_frame(frame, first.shape[:2], count)
            container.mux(picture.encode(_video_frame(frame, count)))
            count += 1
            if track is not None:
                track.advance(count / fps)
        container.mux(picture.encode())
        if track is not None:
            track.finish()
    return count


def _add_picture(container: Any, frame: np.ndarray, fps: Fraction) -> Any:
    height, width = frame.shape[:2]
    stream = container.add_stream("libx264", rate=fps, options={"crf": str(CRF)})
    stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED_RANGE
    return stream


def _video_frame(frame: np.ndarray, index: int) -> Any:
    import av

    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    picture = picture.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE)
    picture.pts = index
    return picture


def _sound(audio: tuple[np.ndarray, int] | str | os.PathLike[str]) -> Sound:
    sound = resampled_sound(*audio) if isinstance(audio, tuple) else open_sound(audio)
    return sound if sound.rate in _AAC_RATES else sound.at_rate(_AAC_RATES[-1])


class _SoundTrack:
    """The sound of a container, written along with the picture and exactly as far."""

    def __init__(self, container: Any, sound: Sound) -> None:
        layout = "mono" if sound.channels == 1 else "stereo"
        self._container, self._sound, self._layout = container, sound, layout
        self._stream = container.add_stream("aac", rate=sound.rate, layout=layout)
        self._stream.bit_rate = _AAC_BITS_PER_CHANNEL * sound.channels
        self._chunks = iter(sound.chunks)
        self._rest = np.zeros((sound.channels, 0), np.float32)
        self._written = 0

    def advance(self, until_s: Fraction) -> None:
        """Write up to this time; silence when the sound is over."""
        wanted = round(until_s * self._sound.rate) - self._written
        while wanted > 0:
            if not self._rest.shape[1]:
                chunk = next(self._chunks, None)
                self._rest = np.zeros((self._sound.channels, wanted), np.float32) if chunk is None else chunk
            piece, self._rest = self._rest[:, :wanted], self._rest[:, wanted:]
            wanted -= piece.shape[1]
            self._encode(piece)

    def finish(self) -> None:
        """Write what the encoder still holds."""
        self._container.mux(self._stream.encode())

    def _encode(self, piece: np.ndarray) -> None:
        import av

        if not piece.shape[1]:
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), format="fltp", layout=self._layout)
        frame.sample_rate, frame.pts = self._sound.rate, self._written
        frame.time_base = Fraction(1, self._sound.rate)
        self._written += piece.shape[1]
        self._container.mux(self._stream.encode(frame))
