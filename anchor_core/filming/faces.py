"""The stages of the face pass: faces found, cropped, and painted anew into the frames (section 3.4)."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from ..anchor.use import face_card
from ..face.checks import check_masks
from ..face.inpaint import face_conditioning
from ..face.passes import report_hidden
from ..face.stream import FaceFiles, PassOptions, measure_offsets, pasted_frames, track_to_files
from ..face.track import FaceTrack
from ..frames import Frames
from ..progress import StepFactory, silent_step
from ..sampling.conditioning import Conditioning
from .crew import Crew, Tokens
from .folder import RenderFolder
from .scene import Scene


class FaceStages:
    """The face pass of a scene that has one. mesh: the frames that were drawn. track: where the faces are."""

    def __init__(
        self, folder: RenderFolder, scene: Scene, crew: Crew, step: StepFactory, mesh: Frames
    ) -> None:
        assert scene.face is not None
        self._face, self._step = scene.face, step
        self._codec = crew.codec("face", self._face.posterior)
        size = face_card(crew.card).crop_size
        self._files = FaceFiles(folder.subfolder("faces"), size, self._codec.channels, self._codec.stride)
        self.track = self._find(scene, crew.card.resolution, mesh)

    def conditioning(self, body: Frames, tokens: Tokens) -> Conditioning:
        """What the faces are made from: a sequence of the visible ones."""
        kept = self._files.extra
        step = self._step_unless(len(kept) == len(self.track.visible))
        return face_conditioning(self._codec, body, self.track, *tokens, step=step, kept=kept)

    def painted(self, latents: Tensor, body: Frames, start: int) -> Iterator[Tensor]:
        """The frames from `start` on with new faces, (n, H, W, 3) uint8 at a time."""
        total, track, options = len(self.track), self.track, PassOptions(blend=self._face.blend)
        if start == total:
            return
        report_hidden(track)
        offsets = measure_offsets(
            self._codec,
            latents,
            body,
            track,
            options,
            kept=self._files.offsets,
            crops=self._files.crops,
            step=self._step_unless(len(self._files.offsets) == len(track.visible)),
        )
        with self._step("blending faces", " frames") as bar:
            for part in pasted_frames(
                self._codec,
                latents,
                body,
                track,
                options,
                offsets=offsets,
                crops=self._files.crops,
                start=start,
            ):
                yield part
                start += len(part)
                bar(start, total, part[-1].numpy())

    def _find(self, scene: Scene, size: tuple[int, int], mesh: Frames) -> FaceTrack:
        step = self._step_unless(len(self._files.seen) == scene.motion.n_frames)
        with step("finding faces", " frames") as bar:
            track = track_to_files(
                scene.motion,
                scene.body,
                self._files,
                size=size,
                options=self._face.track,
                rendered=mesh,
                progress=bar,
            )
        if len(track.visible):
            check_masks(track)
        return track

    def _step_unless(self, finished: bool) -> StepFactory:
        """Nothing is shown of a stage that an earlier run has finished."""
        return silent_step if finished else self._step
