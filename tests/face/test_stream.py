"""The face pass in pieces: what is in files goes on where it was, and gives what memory gives."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from anchor_core.body import BodyModel
from anchor_core.face import stream as module
from anchor_core.face.blend import BlendOptions
from anchor_core.face.codec import LatentCodec, codec_of
from anchor_core.face.crop import CropRenderer
from anchor_core.face.inpaint import face_conditioning
from anchor_core.face.passes import paste_faces
from anchor_core.face.stream import (
    FaceFiles,
    PassOptions,
    measure_offsets,
    pasted_frames,
    track_to_files,
)
from anchor_core.face.track import FaceTrack, TrackOptions, track_motion
from anchor_core.frames import FrameFile
from anchor_core.motion import Camera, Motion
from anchor_core.render.mesh import to_bytes

from ..anchor import models
from .moving import CROP_SIZE, N_FRAMES, SHOWN, moving_frames, moving_track

STRIDE = 2
TOKENS = torch.zeros(1, 5, 12)


class Killed(Exception):
    """The process ended here."""


class Files(FaceFiles):
    """Of the small clip."""

    def __init__(self, folder: Path, crop_size: int = CROP_SIZE) -> None:
        super().__init__(folder, crop_size, 4, STRIDE)


class Counting:
    """A codec that counts pictures, and dies after a number of calls."""

    def __init__(self, codec: LatentCodec, dies_after: int = 1000) -> None:
        self.firsts: list[int] = []
        self.decoded = 0
        self._left, self._inner = dies_after, codec
        self.codec = replace(codec, encode=self._encode, decode=self._decode)

    def _encode(self, pictures: Tensor, first: int) -> Tensor:
        self._live()
        self.firsts.append(first)
        return self._inner.encode(pictures, first)

    def _decode(self, latents: Tensor) -> Tensor:
        self._live()
        self.decoded += len(latents)
        return self._inner.decode(latents)

    def _live(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Killed


@pytest.fixture(scope="module")
def codec() -> LatentCodec:
    torch.manual_seed(4)
    return codec_of(models.tiny_vae(), "sample")


@pytest.fixture(scope="module")
def frames() -> Tensor:
    return (moving_frames() * 255).round().to(torch.uint8)


@pytest.fixture(scope="module")
def latents() -> Tensor:
    return torch.randn(len(SHOWN), 4, 8, 8, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def track() -> FaceTrack:
    visibility = moving_track().visibility
    visibility[1] = 0.4  # it fades
    return replace(moving_track(), visibility=visibility)


def in_files(track: FaceTrack, folder: Path) -> FaceTrack:
    files = Files(folder)
    files.mesh.append(track.mesh[:])
    files.mask.append(track.mask[:])
    return replace(track, mesh=files.mesh, mask=files.mask)


def same(one: FaceTrack, other: FaceTrack) -> bool:
    numbers = all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("points", "matrices", "visibility")
    )
    pictures = all(torch.equal(getattr(one, name)[:], getattr(other, name)[:]) for name in ("mesh", "mask"))
    return numbers and pictures and one.hidden == other.hidden and one.crop_size == other.crop_size


# Tracks


@pytest.fixture(scope="module")
def shown(talk: Motion, body: BodyModel, camera: Camera) -> FaceTrack:
    return track_motion(talk, body, camera, crop_size=64)


@pytest.mark.parametrize("chunk", [2, 16])
def test_a_track_in_files_is_that_in_memory(
    tmp_path: Path, shown: FaceTrack, talk: Motion, body: BodyModel, camera: Camera, chunk: int
) -> None:
    track = track_to_files(talk, body, Files(tmp_path, 64), camera, chunk=chunk)
    assert isinstance(track.mesh, FrameFile)
    assert same(track, shown)


@pytest.mark.parametrize("frame", [1, 2, 5, 9])
def test_a_track_goes_on_where_it_was_killed(
    tmp_path: Path,
    shown: FaceTrack,
    talk: Motion,
    body: BodyModel,
    camera: Camera,
    frame: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def kill(done: int, *_rest: object) -> None:
        if done == frame:
            raise Killed

    with pytest.raises(Killed):
        track_to_files(talk, body, Files(tmp_path, 64), camera, chunk=2, progress=kill)
    drawn: list[int] = []
    draw = CropRenderer.draw
    monkeypatch.setattr(CropRenderer, "draw", lambda *args, **rest: drawn.append(1) or draw(*args, **rest))
    assert same(track_to_files(talk, body, Files(tmp_path, 64), camera, chunk=2), shown)
    assert len(drawn) == talk.n_frames - (frame - 1) // 2 * 2
    drawn.clear()
    assert same(track_to_files(talk, body, Files(tmp_path, 64), camera, chunk=2), shown)
    assert not drawn


def test_files_of_different_lengths_become_one_track(
    tmp_path: Path, shown: FaceTrack, talk: Motion, body: BodyModel, camera: Camera
) -> None:
    """Killed between two writes, and within one."""
    files = Files(tmp_path, 64)
    files.mesh.append(shown.mesh[:5])
    files.mask.append(shown.mask[:4])
    files.seen.append(torch.ones(3))
    with files.mesh.path.open("ab") as torn:
        torn.write(b"123")
    assert same(track_to_files(talk, body, Files(tmp_path, 64), camera, chunk=2), shown)


def test_what_covers_a_face_is_remembered(
    tmp_path: Path, posed: Any, body: BodyModel, camera: Camera, hand_before_face: tuple[float, float, float]
) -> None:
    """How much of a face is seen is known from drawing it alone."""
    motion, options = posed([0.0, 0.0], hand=hand_before_face), TrackOptions(min_visibility=0.75)
    given = {"options": options, "chunk": 1}
    first, again = (track_to_files(motion, body, Files(tmp_path, 32), camera, **given) for _ in range(2))
    assert first.hidden == again.hidden == ("covered",) * 2
    assert not first.mask[:].any()
    assert same(first, track_motion(motion, body, camera, crop_size=32, **given))
    assert same(first, again)


# What the network is given


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_conditioning_goes_on_where_it_was_killed(
    tmp_path: Path, codec: LatentCodec, frames: Tensor, track: FaceTrack, calls: int
) -> None:
    """With an encoder that draws: crops keep their numbers."""
    whole = face_conditioning(codec, frames, track, TOKENS, chunk=3)
    filed, dying = in_files(track, tmp_path), Counting(codec, dies_after=calls)
    with pytest.raises(Killed) if calls < 2 else nullcontext():
        face_conditioning(dying.codec, frames, filed, TOKENS, chunk=3, kept=Files(tmp_path).extra)
    counting = Counting(codec)
    rest = face_conditioning(counting.codec, frames, filed, TOKENS, chunk=3, kept=Files(tmp_path).extra)
    assert counting.firsts == [[0, 3], [3], []][calls]
    assert whole.inpaint is not None
    assert rest.inpaint is not None
    assert torch.equal(whole.inpaint, rest.inpaint)
    assert torch.equal(torch.as_tensor(whole.pose), rest.pose[:])


# Putting faces back


def pasted(
    codec: LatentCodec, latents: Tensor, frames: Any, track: FaceTrack, options: PassOptions, **rest: Any
) -> Tensor:
    offsets = measure_offsets(codec, latents, frames, track, options)
    return torch.cat(list(pasted_frames(codec, latents, frames, track, options, offsets=offsets, **rest)))


@pytest.mark.parametrize("match", [True, False])
@pytest.mark.parametrize("mode", ["face", "crop", "square"])
def test_frames_in_pieces_are_those_in_memory(
    tmp_path: Path,
    codec: LatentCodec,
    latents: Tensor,
    frames: Tensor,
    track: FaceTrack,
    mode: str,
    match: bool,
) -> None:
    options = PassOptions(BlendOptions(mode, color_match=match), chunk=3)
    take = paste_faces(codec, latents, frames, track, options)
    expected = torch.from_numpy(to_bytes(take.frames))
    file = FrameFile(tmp_path / "body", frames.shape[1:])
    file.append(frames)
    filed = in_files(track, tmp_path)
    for start in range(N_FRAMES):
        parts = pasted(codec, latents, file, filed, options, start=start)
        assert parts.dtype == torch.uint8
        assert torch.equal(parts, expected[start:])
    hidden = [number for number in range(N_FRAMES) if number not in SHOWN]
    assert torch.equal(expected[hidden], frames[hidden])
    # The published square is empty for so small a face.
    assert bool((expected[SHOWN] != frames[SHOWN]).flatten(1).any(1).all()) == (mode != "square")
    floats = pasted(codec, latents, frames.float() / 255, track, options)
    assert torch.equal(floats, take.frames)


def test_after_the_last_frame_there_is_none(
    codec: LatentCodec, latents: Tensor, frames: Tensor, track: FaceTrack
) -> None:
    assert not list(pasted_frames(codec, latents, frames, track, PassOptions(), offsets=None, start=N_FRAMES))


def test_without_any_face_all_frames_come_as_they_are(
    codec: LatentCodec, frames: Tensor, track: FaceTrack
) -> None:
    nobody = replace(track, hidden=("covered",) * N_FRAMES)
    none = torch.empty(0, 4, 1, 1)
    assert measure_offsets(codec, none, frames, nobody, PassOptions()) is None
    assert torch.equal(pasted(codec, none, frames, nobody, PassOptions()), frames)


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_colours_go_on_where_they_were_killed(
    tmp_path: Path, codec: LatentCodec, latents: Tensor, frames: Tensor, track: FaceTrack, calls: int
) -> None:
    options = PassOptions(chunk=3)
    whole, dying = measure_offsets(codec, latents, frames, track, options), Counting(codec, dies_after=calls)

    def measure(codec: LatentCodec) -> Tensor | None:
        files = Files(tmp_path)
        return measure_offsets(codec, latents, frames, track, options, kept=files.offsets, crops=files.crops)

    with pytest.raises(Killed) if calls < 2 else nullcontext():
        measure(dying.codec)
    counting = Counting(codec)
    rest = measure(counting.codec)
    assert counting.decoded == [4, 1, 0][calls]
    assert whole is not None
    assert rest is not None
    assert torch.equal(whole, rest)
    assert len(Files(tmp_path).crops) == len(SHOWN)


@pytest.mark.parametrize(("room", "again"), [(10, 0), (3, 1), (2, 4)])
def test_as_many_crops_are_kept_as_there_is_room_for(
    tmp_path: Path,
    codec: LatentCodec,
    latents: Tensor,
    frames: Tensor,
    track: FaceTrack,
    room: int,
    again: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", room * 12 * CROP_SIZE**2)
    options, files, counting = PassOptions(chunk=3), Files(tmp_path), Counting(codec)
    offsets = measure_offsets(codec, latents, frames, track, options, crops=files.crops)
    given = {"offsets": offsets, "crops": files.crops}
    parts = list(pasted_frames(counting.codec, latents, frames, track, options, **given))
    assert counting.decoded == again
    assert torch.equal(torch.cat(parts), pasted(codec, latents, frames, track, options))


class Long:
    """Frames that tell how many of them are asked for at once."""

    dtype = torch.uint8

    def __init__(self, frames: Tensor, times: int) -> None:
        self._frames, self.shape = frames, (len(frames) * times, *frames.shape[1:])
        self.most = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Tensor:
        numbers = torch.arange(len(self))[index]
        self.most = max(self.most, numbers.numel())
        return self._frames[numbers % len(self._frames)]


def test_no_more_than_a_few_frames_are_read_at_once(
    codec: LatentCodec, latents: Tensor, frames: Tensor, track: FaceTrack
) -> None:
    times = 20
    clip, mesh, mask = (Long(part[:], times) for part in (frames, track.mesh, track.mask))
    long = FaceTrack(
        points=track.points.repeat(times, 1, 1),
        matrices=track.matrices.repeat(times, 1, 1),
        visibility=track.visibility.repeat(times),
        hidden=track.hidden * times,
        mesh=mesh,
        mask=mask,
        frame_size=track.frame_size,
    )
    conditioning = face_conditioning(codec, clip, long, TOKENS, chunk=8)
    assert len(conditioning.pose) == 80
    parts = pasted(codec, latents.repeat(times, 1, 1, 1), clip, long, PassOptions(chunk=8))
    assert len(parts) == len(long) == 140
    assert clip.most == 8
    assert mesh.most == 0
    assert mask.most <= 64
    assert np.array_equal(conditioning.pose[5].numpy(), track.mesh[SHOWN[1]].numpy())
