"""The stages of a film, each from the files of those before to a file of its own, a few frames at a time.

As long as the clip are only its latents, and numbers per frame. Every stage goes on where its file ends, and
a file gets the same bytes whether the process was stopped or not: frames are made in groups that count from
frame 0, for groups of another size would be rounded otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from ..ahead import Growing
from ..anchor.use import Stage, noise_schedule
from ..face.inpaint import CHUNK
from ..face.track import FaceTrack
from ..frames import FrameFile, Frames
from ..progress import Progress, StepFactory, count_windows
from ..render.mesh import to_bytes
from ..render.motion import fit_camera, render_chunks
from ..sampling.conditioning import Conditioning
from ..sampling.ranks import Ranks
from ..sampling.sampler import sample
from ..sampling.settings import Memory, SamplerSettings
from .crew import Crew, Tokens
from .folder import RenderFolder
from .scene import Scene

if TYPE_CHECKING:
    from .faces import FaceStages

_DECODED = 8
"""Frames that are decoded at once."""

T = TypeVar("T")


@dataclass(frozen=True)
class Clip:
    """What the stages made.

    finished: the frames of the video; entered, it has them made. body: those before the face pass, and the
    track of the faces, where there is one.
    """

    mesh: Frames
    finished: Growing
    body: Frames | None = None
    track: FaceTrack | None = None

    @property
    def painted(self) -> int:
        """Frames whose face is painted anew."""
        return 0 if self.track is None else len(self.track.visible)


class Clock:
    """A StepFactory that also measures. seconds: of each stage by its name."""

    def __init__(self, step: StepFactory) -> None:
        self._step = step
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str, unit: str) -> Iterator[Progress]:
        """See StepFactory."""
        began = time.perf_counter()
        try:
            with self._step(name, unit) as bar:
                yield bar
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


class Stages:
    """The stages of one film.

    passes, tokens: of the body pass, and of the face pass where the scene has one. ranks: the processes that
    share the denoising; the main one makes all files, and the others find them finished.
    """

    def __init__(
        self,
        folder: RenderFolder,
        scene: Scene,
        crew: Crew,
        passes: Mapping[Stage, SamplerSettings],
        tokens: Mapping[Stage, Tokens],
        step: StepFactory,
        ranks: Ranks | None = None,
    ) -> None:
        self._folder, self._scene, self._crew = folder, scene, crew
        self._passes, self._tokens, self._step, self._ranks = passes, tokens, step, ranks
        self._n_frames = scene.motion.n_frames
        width, height = crew.card.resolution
        self._shape = (height, width, 3)

    def run(self) -> Clip:
        """Everything up to the last latents; the frames of the video are made when they are asked for."""
        with self._drawn() as mesh:
            faces = self._main_first(lambda: self._faces(mesh), "finding faces")
            latents = self._denoise("body", Conditioning(mesh, *self._tokens["body"]))
        if faces is None:
            return Clip(mesh, self._decoding(latents))
        body = self._main_first(lambda: _completed(self._decoding(latents)), "decoding")
        painted = torch.empty(0, *latents.shape[1:])
        if len(faces.track.visible):
            tokens = self._tokens["face"]
            conditioning = self._main_first(lambda: faces.conditioning(body, tokens), "cropping faces")
            painted = self._denoise("face", conditioning)
        file = self._folder.frames("finished", self._shape)
        parts = faces.painted(painted, body, self._begin_of_group(file, CHUNK))
        return Clip(mesh, Growing(file, self._n_frames, parts), body, faces.track)

    @contextmanager
    def _drawn(self) -> Iterator[Frames]:
        """The mesh frames that condition the network; drawn beside the networks, where these leave the
        processor free."""
        if self._ranks is not None:
            yield self._main_first(lambda: _completed(self._drawing()), "drawing the mesh")
            return
        with self._drawing() as mesh:
            if not self._crew.on_accelerator:
                mesh.wait(self._n_frames)
            yield mesh

    def _drawing(self) -> Growing:
        file = self._folder.frames("mesh", self._shape)
        return Growing(file, self._n_frames, self._mesh_parts(len(file)))

    def _mesh_parts(self, start: int) -> Iterator[Tensor]:
        motion, body, backend = self._scene.motion, self._scene.body, self._scene.backend
        if start == self._n_frames:
            return
        camera = fit_camera(motion.camera, self._crew.card.resolution)
        with self._step("rendering the mesh", " frames") as bar:
            for part in render_chunks(motion, body, camera, backend=backend, start=start, progress=bar):
                yield torch.from_numpy(to_bytes(part.image))  # whole levels already

    def _faces(self, mesh: Frames) -> FaceStages | None:
        if self._scene.face is None:
            return None
        from .faces import FaceStages

        return FaceStages(self._folder, self._scene, self._crew, self._step, mesh)

    def _denoise(self, stage: Stage, conditioning: Conditioning) -> Tensor:
        """Latents of the clip, (F, C, h, w) float32 on the CPU."""
        settings = self._passes[stage]
        keeper = self._folder.keeper(f"{stage}_latents", writes=self._is_main)
        if keeper.finished(settings.steps) and (state := keeper.load()) is not None:
            return state.latents
        network, place = self._crew.network(stage, settings, conditioning)
        if self._is_main:  # another choice would be rounded otherwise
            memory = asdict(place.get("memory") or Memory())
            place["memory"] = Memory(**self._folder.decided(f"{stage}_memory", memory))
        name = "denoising" if stage == "body" else "denoising faces"
        with self._step(name, " windows") as bar:
            return sample(
                network,
                conditioning,
                settings,
                noise_schedule(self._crew.card),
                callback=count_windows(bar),
                keep=keeper,
                ranks=self._ranks,
                **place,
            )

    def _decoding(self, latents: Tensor) -> Growing:
        file = self._folder.frames("body", self._shape)
        return Growing(file, self._n_frames, self._decoded(latents, self._begin_of_group(file, _DECODED)))

    def _decoded(self, latents: Tensor, start: int) -> Iterator[Tensor]:
        total = len(latents)
        if start == total:
            return
        codec = self._crew.codec("body")
        with self._step("decoding", " frames") as bar:
            for first in range(start, total, _DECODED):
                frames = to_bytes(codec.decode(latents[first : first + _DECODED]))
                yield torch.from_numpy(frames)
                bar(first + len(frames), total, frames[-1])

    def _begin_of_group(self, file: FrameFile, size: int) -> int:
        """The frame that a file goes on with, after it forgot those of a group that is not whole.

        Only the main process may cut: in another one the file would seem unfinished while it is written.
        """
        if self._is_main and len(file) < self._n_frames:
            file.truncate(len(file) // size * size)
        return len(file)

    @property
    def _is_main(self) -> bool:
        return self._ranks is None or self._ranks.main

    def _main_first(self, work: Callable[[], T], during: str) -> T:
        """The result of `work`, which the main process alone does: the others do it when all is there."""
        if self._ranks is None:
            return work()
        if self._ranks.main:
            result = work()
            self._ranks.barrier(during)
            return result
        self._ranks.barrier(during)
        return work()


def _completed(frames: Growing) -> Growing:
    with frames:
        return frames
