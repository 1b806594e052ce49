"""Sound, frames and pictures from the files that people have; whatever PyAV (FFmpeg) and Pillow can read."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnchorError

_ACCURATE = 4 | 0x40000 | 0x2000 | 0x4000
"""swscale: bicubic, exact rounding, full chroma; its default darkens by 1.3 levels of 255 on average."""
logger = logging.getLogger("anchor")
_PICTURES = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""What Pillow may read; for EPS it would run Ghostscript on the file."""
_MAX_PIXELS = 80_000_000
_HDR = (16, 18)  # PQ and HLG among the transfer characteristics of H.273
_CHUNK_S = 1  # seconds of a waveform that are handed on at once


@dataclass(frozen=True)
class Sound:
    """Sound as it comes: chunks (C, n) float32 in [-1, 1]. rate: samples per second; channels: 1 or 2."""

    rate: int
    channels: int
    chunks: Iterable[np.ndarray]

    def at_rate(self, rate: int) -> Sound:
        """The same sound with another number of samples per second."""
        return Sound(rate, self.channels, _arrays(_frames(self), self.channels, rate))


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says about itself. size: (width, height) pixels, upright.

    n_frames: 0 when it does not say; duration_s: of the whole file; picture_s, sound_s: of each, 0 when it
    does not say or there is none.
    """

    size: tuple[int, int]
    fps: float
    n_frames: int
    duration_s: float
    has_sound: bool
    tags: dict[str, str]
    picture_s: float = 0.0
    sound_s: float = 0.0


def read_audio(
    path: str | os.PathLike[str], start: float = 0.0, duration: float | None = None
) -> tuple[np.ndarray, int]:
    """Waveform (C, T) float32 and sample rate of a sound or video file; C is 1 or 2.

    start, duration: seconds; what lies beyond the end is missing. Raises AnchorError when there is no sound.
    """
    sound = open_sound(path)
    first = round(start * sound.rate)
    stop = None if duration is None else first + round(duration * sound.rate)
    empty = np.zeros((sound.channels, 0), np.float32)
    parts = [empty, *_cut(iter(sound.chunks), first, sys.maxsize if stop is None else stop)]
    return np.concatenate(parts, axis=1), sound.rate


def open_sound(path: str | os.PathLike[str]) -> Sound:
    """The first sound track of a file, decoded as it is consumed; more than two channels become two."""
    with open_container(path) as container:
        if not container.streams.audio:
            raise AnchorError(f"{Path(path).name} has no sound: choose a file with sound, or none.")
        stream = container.streams.audio[0]
        rate, channels = int(stream.rate), min(2, int(stream.channels))
    return Sound(rate, channels, _decoded(path, rate, channels))


def resampled_sound(waveform: Any, rate: int) -> Sound:
    """A waveform (C, T) in memory as Sound. Raises AnchorError for other shapes, more channels, NaN."""
    samples = np.asarray(waveform, np.float32)
    if samples.ndim != 2 or samples.shape[0] not in (1, 2):
        raise AnchorError(
            f"The sound has shape {samples.shape}: give (channels, samples) with 1 or 2 channels."
        )
    if not np.isfinite(samples).all():
        raise AnchorError("The sound holds values that are not finite: load it again.")
    if not 1000 <= rate <= 1_000_000:
        raise AnchorError(f"The sample rate is {rate}: give samples per second, usual is 16000 to 48000.")
    step = int(rate) * _CHUNK_S
    chunks = [samples[:, start : start + step] for start in range(0, samples.shape[1], step)]
    return Sound(int(rate), samples.shape[0], chunks)


def read_frames(
    path: str | os.PathLike[str], start: int = 0, stop: int | None = None
) -> Iterator[np.ndarray]:
    """Frames `start` to `stop` of a video as they are stored, one at a time: (H, W, 3) uint8 sRGB, upright.

    For a video of variable rate see `steady.read_at_rate`. Raises AnchorError when the file is no video.
    """
    for index, frame in enumerate(decoded_frames(path)):
        if stop is not None and index >= stop:
            return
        if index >= start:
            yield to_rgb(frame)


def decoded_frames(path: str | os.PathLike[str]) -> Iterator[Any]:
    """All frames of a video as the decoder gives them; of a damaged one, those before the damage.

    Raises AnchorError when the file is no video or has no readable frame.
    """
    import av

    with open_container(path) as container:
        stream, count = picture_stream(container, path), 0
        stream.thread_type = "AUTO"
        _warn_of_hdr(stream, path)
        try:
            for frame in container.decode(stream):
                yield frame
                count += 1
        except av.error.InvalidDataError:
            if not count:
                raise
            logger.warning("%s is damaged: %d frames could be read", path, count)
            return
        if count < stream.frames:
            logger.warning("%s is cut off: %d of %d frames could be read", path, count, stream.frames)


def picture_stream(container: Any, path: str | os.PathLike[str]) -> Any:
    """The first stream of an open file that moves: pictures of a cover are none. Raises AnchorError."""
    import av

    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    raise AnchorError(f"{Path(path).name} has no picture: choose a video file.")


def read_info(path: str | os.PathLike[str]) -> VideoInfo:
    """Size, rate and length of a video, from its header and its first frame, which knows how it is turned."""
    with open_container(path) as container:
        stream = picture_stream(container, path)
        return VideoInfo(
            size=_upright_size(container, stream),
            fps=float(stream.average_rate or 0),
            n_frames=int(stream.frames),
            duration_s=(container.duration or 0) / 1e6,  # FFmpeg counts microseconds
            has_sound=bool(container.streams.audio),
            tags=dict(container.metadata),
            picture_s=_seconds(stream),
            sound_s=_seconds(container.streams.audio[0]) if container.streams.audio else 0.0,
        )


def describe_video(path: str | os.PathLike[str]) -> str:
    """Frames, rate, and how long picture and sound last, as the file says it: for people."""
    info = read_info(path)
    sound = f"{info.sound_s:.2f} s of sound" if info.has_sound else "no sound"
    return f"{info.n_frames} frames at {info.fps:.5g} fps, {info.picture_s:.2f} s of picture, {sound}"


def read_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """A picture file as (H, W, 3) uint8 sRGB, upright, alpha dropped."""
    return _read_image(path, _pixels)


def read_matte(path: str | os.PathLike[str]) -> np.ndarray:
    """A picture file as a matte (H, W) uint8, upright: its alpha channel, or its brightness without one."""
    return _read_image(path, _matte)


def _read_image(path: str | os.PathLike[str], convert: Callable[[Any], np.ndarray]) -> np.ndarray:
    from PIL import Image, ImageOps

    if not os.path.isfile(path):
        raise AnchorError(f"There is no file {path}: check the name and the folder.")
    try:
        with Image.open(path, formats=_PICTURES) as image:
            size = image.size
            if size[0] * size[1] <= _MAX_PIXELS:
                return convert(ImageOps.exif_transpose(image))
    except Exception:  # Pillow's readers fail with anything
        raise AnchorError(
            f"{Path(path).name} is not a readable picture: choose a PNG or JPEG file."
        ) from None
    raise AnchorError(
        f"{Path(path).name} has {size[0]} x {size[1]} pixels and the limit is {_MAX_PIXELS // 10**6} "
        "million: make it smaller."
    )


def _matte(image: Any) -> np.ndarray:
    if image.has_transparency_data:
        return np.array(image.convert("RGBA").getchannel("A"))
    from PIL import Image

    return np.array(Image.fromarray(_pixels(image)).convert("L"))


def _pixels(image: Any) -> np.ndarray:
    """(H, W, 3) uint8 of a Pillow image; its own conversion makes 16-bit grey white and floats black."""
    if image.mode == "F":
        raise ValueError(image.mode)
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image) / 257, 0, 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    pixels: np.ndarray = np.array(image.convert("RGB"))
    return pixels


@contextmanager
def open_container(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A local sound or video file, opened by PyAV; whatever it cannot read becomes an AnchorError."""
    import av

    if not os.path.isfile(path):
        raise AnchorError(f"There is no file {path}: check the name and the folder.")
    try:
        # A local path only: no protocol of FFmpeg (http, concat, ...) can hide in the name.
        with av.open("file:" + os.fspath(path)) as container:
            yield container
    except av.error.FFmpegError as error:
        raise AnchorError(
            f"{Path(path).name} is not a readable video or sound file ({error.strerror}): "
            "choose another, or convert it to .mp4 or .wav."
        ) from None


def _seconds(stream: Any) -> float:
    return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0


def _decoded(path: str | os.PathLike[str], rate: int, channels: int) -> Iterator[np.ndarray]:
    with open_container(path) as container:
        frames = container.decode(audio=0)
        first = next(frames, None)
        if first is None:
            return
        late = _start_s(container, first)
        if late > 0:  # sound that starts after the picture
            yield np.zeros((channels, round(late * rate)), np.float32)
        chunks = _arrays(chain([first], frames), channels, rate)
        skipped = round(max(0.0, -late) * rate)
        yield from _cut(chunks, skipped, skipped + _length(container, rate))


def _start_s(container: Any, frame: Any) -> float:
    """When the sound begins, in seconds after the beginning of the file; negative for priming samples."""
    if frame.pts is None or frame.time_base is None:
        return 0.0
    return float(frame.pts * frame.time_base) - max(0, container.start_time or 0) / 1e6


def _length(container: Any, rate: int) -> int:
    """Samples of the first sound track; AAC pads its last block, and only .mp4 tells by how much."""
    stream = container.streams.audio[0]
    if "mp4" not in container.format.name or not stream.duration:
        return sys.maxsize // 2
    return round(_seconds(stream) * rate)


def _cut(chunks: Iterator[np.ndarray], start: int, stop: int) -> Iterator[np.ndarray]:
    done = 0
    for chunk in chunks:
        yield chunk[:, max(0, start - done) : max(0, stop - done)]
        done += chunk.shape[1]
        if done >= stop:
            return


def _resampler(channels: int, rate: int) -> Any:
    import av

    return av.AudioResampler(format="fltp", layout="mono" if channels == 1 else "stereo", rate=rate)


def _arrays(frames: Iterator[Any], channels: int, rate: int) -> Iterator[np.ndarray]:
    """Chunks of one number of channels and one rate; a stream may change both on its way."""
    for _, alike in groupby(frames, lambda frame: (frame.sample_rate, frame.layout.name, frame.format.name)):
        resampler = _resampler(channels, rate)
        for frame in alike:
            frame.pts = None  # the resampler complains about gaps; time is counted in samples here
            yield from (piece.to_ndarray() for piece in resampler.resample(frame))
        yield from (piece.to_ndarray() for piece in resampler.resample(None))


def _frames(sound: Sound) -> Iterator[Any]:
    import av

    for chunk in sound.chunks:
        layout = "mono" if sound.channels == 1 else "stereo"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(chunk), format="fltp", layout=layout)
        frame.sample_rate = sound.rate
        yield frame


def to_rgb(frame: Any) -> np.ndarray:
    """A decoded frame as (H, W, 3) uint8 sRGB, upright."""
    rgb: np.ndarray = frame.reformat(format="rgb24", interpolation=_ACCURATE).to_ndarray()
    turns = _quarter_turns(frame)
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


def _quarter_turns(frame: Any) -> int:
    """Quarter turns to the left that show a frame upright: phones store portrait video lying down."""
    return round(getattr(frame, "rotation", 0) / 90) % 4


def _upright_size(container: Any, stream: Any) -> tuple[int, int]:
    import av

    size = (stream.codec_context.width, stream.codec_context.height)
    try:
        first = next(container.decode(stream), None)
    except av.error.InvalidDataError:
        return size
    return size[::-1] if first is not None and _quarter_turns(first) % 2 else size


def _warn_of_hdr(stream: Any, path: str | os.PathLike[str]) -> None:
    if getattr(stream.codec_context, "color_trc", None) in _HDR:
        logger.warning(
            "%s is an HDR video and its colours will look pale: convert it to SDR (Rec. 709) first.", path
        )
