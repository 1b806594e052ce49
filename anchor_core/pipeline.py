"""From a motion to a video of an anchor: the chain of all steps, as the command line runs it.

reference picture -> appearance tokens, motion -> body -> mesh render,
both -> overlapped temporal denoising -> decode -> faces painted anew -> video
(Make-Your-Anchor, Huang et al., CVPR 2024, sections 3.1 to 3.4). Each step is one public call of its own
module; this module only hands the results on, so that a graph of nodes does the same with the same calls.
Clips are kept as bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .anchor.card import AnchorCard
from .anchor.file import Anchor
from .anchor.use import Stage, appearance_tokens, face_card, noise_schedule
from .body.model import BodyModel
from .errors import AnchorError
from .face.blend import BlendOptions
from .face.checks import check_face_network, check_masks
from .face.codec import Posterior, codec_of
from .face.inpaint import crops_of
from .face.passes import PassOptions, face_of, inpaint_faces
from .face.track import FaceTrack, TrackOptions, track_motion
from .motion.motion import Motion
from .motion.soundtrack import Soundtrack
from .progress import StepFactory, count_windows, silent_step
from .render.mesh import Backend, to_bytes
from .sampling.conditioning import Conditioning
from .sampling.sampler import SamplerSettings

if TYPE_CHECKING:
    from .sgdm.network import SGDM

Tokens = tuple[torch.Tensor, torch.Tensor | None]
"""Of the reference picture and of the unconditional pass, (1, T, D) each."""

_CHUNK = 16  # frames that are turned into bytes at once
_KEPT_CROPS = 2**30
"""Bytes of face crops up to which they are kept; above, they are decoded a second time."""


@dataclass(frozen=True)
class FacePass:
    """How the faces of a scene are painted anew.

    appearance: (H, W, 3) uint8 crop of the aligned face, or None for the one inside the anchor file. track:
    see `face_tracking` for what an anchor wants. posterior: see `codec_of`.
    """

    settings: SamplerSettings
    appearance: np.ndarray | None = None
    track: TrackOptions = field(default_factory=TrackOptions)
    blend: BlendOptions = field(default_factory=BlendOptions)
    posterior: Posterior = "mode"


@dataclass(frozen=True)
class Scene:
    """What is filmed: who, in which body, moving how.

    appearance: (H, W, 3) uint8 reference picture, or None for the one inside the anchor file. face: None
    leaves the faces as the body pass makes them.
    """

    anchor: Anchor
    motion: Motion
    body: BodyModel
    appearance: np.ndarray | None = None
    backend: Backend = "torch"
    face: FacePass | None = None


@dataclass(frozen=True)
class Runtime:
    """Where the networks run, in which numbers, and what shows the progress of each step."""

    device: torch.device
    dtype: torch.dtype
    step: StepFactory = silent_step


@dataclass(frozen=True, eq=False)
class Take:
    """What was filmed. mesh and frames: (F, H, W, 3) uint8 sRGB; sound: the motion's, as long as the frames.

    With a face pass: body, the frames before it, as `frames`; the track of the faces; the pass itself.
    """

    mesh: np.ndarray
    frames: np.ndarray
    fps: float
    settings: SamplerSettings
    body: np.ndarray | None = None
    track: FaceTrack | None = None
    face: FacePass | None = None
    sound: Soundtrack | None = None

    @property
    def n_painted(self) -> int:
        """Frames whose face was painted anew."""
        return 0 if self.track is None else len(self.track.visible)


def film(scene: Scene, settings: SamplerSettings, runtime: Runtime) -> Take:
    """Run every step from the motion to the frames; settings: of the body pass.

    Raises AnchorError where the anchor lacks a part that is needed: before the work, which may take hours.
    """
    anchor = scene.anchor
    _body_of(anchor)
    _vae_of(anchor)
    tokens = _tokens(anchor, "body", settings, scene.appearance, runtime.device)
    face_tokens = _prepared_face(scene, runtime.device)
    mesh = render_scene(scene, runtime.step)
    track = None if scene.face is None else track_faces(scene, runtime.step)
    latents = denoise(anchor, Conditioning(mesh, *tokens), settings, runtime)
    frames = decode(anchor, latents, runtime)
    if track is None or face_tokens is None:
        return Take(mesh, frames, scene.motion.fps, settings, sound=scene.motion.sound)
    painted = paint_faces(scene, frames, track, face_tokens, runtime)
    return Take(mesh, painted, scene.motion.fps, settings, frames, track, scene.face, scene.motion.sound)


def face_tracking(card: AnchorCard, smoothing: float | None = None) -> TrackOptions:
    """How the faces of an anchor are found and masked: as in its training. smoothing: frames."""
    own = face_card(card)
    options = TrackOptions(forehead=own.forehead, dilation=own.dilation, mesh=own.mesh)  # type: ignore[arg-type]
    return options if smoothing is None else replace(options, smoothing=smoothing)


def render_scene(scene: Scene, step: StepFactory) -> np.ndarray:
    """The mesh frames that condition the network: (F, H, W, 3) uint8."""
    from .render.motion import fit_camera, render_chunks

    width, height = scene.anchor.card.resolution
    camera = fit_camera(scene.motion.camera, (width, height))
    frames, done = np.empty((scene.motion.n_frames, height, width, 3), np.uint8), 0
    with step("rendering the mesh", " frames") as bar:
        for part in render_chunks(scene.motion, scene.body, camera, backend=scene.backend, progress=bar):
            frames[done : done + len(part)] = to_bytes(part.image)  # whole levels already
            done += len(part)
    return frames


def track_faces(scene: Scene, step: StepFactory) -> FaceTrack:
    """Where the faces of a scene that has a face pass are, and what steers it there."""
    face, card = scene.face, scene.anchor.card
    assert face is not None
    with step("finding faces", " frames") as bar:
        track = track_motion(
            scene.motion,
            scene.body,
            size=card.resolution,
            crop_size=face_card(card).crop_size,
            options=face.track,
            progress=bar,
        )
    if len(track.visible):
        check_masks(track)
    return track


def denoise(
    anchor: Anchor, conditioning: Conditioning, settings: SamplerSettings, runtime: Runtime
) -> torch.Tensor:
    """Latents of the clip, (F, C, h, w) float32 on the CPU."""
    from .sampling.sampler import sample

    body = _body_of(anchor).eval()
    with runtime.step("denoising", " windows") as bar:
        return sample(
            body,
            conditioning,
            settings,
            noise_schedule(anchor.card),
            device=runtime.device,
            dtype=runtime.dtype,
            callback=count_windows(bar),
        )


def decode(anchor: Anchor, latents: torch.Tensor, runtime: Runtime) -> np.ndarray:
    """Frames from latents: (F, H, W, 3) uint8."""
    from .sgdm.vae import decode_chunks, latent_stride

    vae = _vae_of(anchor)
    # torch's own `to`: the one of diffusers warns about an empty list of modules
    torch.nn.Module.to(vae, device=runtime.device, dtype=runtime.dtype)
    height, width = (side * latent_stride(vae) for side in latents.shape[2:])
    frames, done = np.empty((len(latents), height, width, 3), np.uint8), 0
    with runtime.step("decoding", " frames") as bar:
        for part in decode_chunks(vae, latents, progress=bar):
            frames[done : done + len(part)] = to_bytes(part)
            done += len(part)
    return frames


def paint_faces(
    scene: Scene, frames: np.ndarray, track: FaceTrack, tokens: Tokens, runtime: Runtime
) -> np.ndarray:
    """A copy of the frames (F, H, W, 3) uint8 with the faces painted anew; `decode` has placed the VAE."""
    face, anchor = scene.face, scene.anchor
    assert face is not None
    kept = len(track) * track.crop_size**2 * 3 * 4 <= _KEPT_CROPS  # float32
    painted = inpaint_faces(
        face_of(anchor),
        codec_of(_vae_of(anchor), face.posterior),
        frames,
        track,
        face.settings,
        noise_schedule(anchor.card),
        appearance=tokens[0],
        null=tokens[1],
        options=PassOptions(blend=face.blend, keep_crops=kept),
        step=runtime.step,
        device=runtime.device,
        dtype=runtime.dtype,
    ).frames
    result = np.empty_like(frames)
    for start in range(0, len(result), _CHUNK):
        result[start : start + _CHUNK] = to_bytes(painted[start : start + _CHUNK])
    return result


def save_take(take: Take, path: Path, facts: dict[str, Any]) -> Path:
    """Write the video, and beside it a contact sheet, see `sheet_rows`; returns the sheet's path.

    facts: what made the video (anchor, motion, ...): travels with the settings of both passes as JSON in the
    file.
    """
    from .video.sheet import save_sheet
    from .video.write import write_video

    facts = {**facts, "settings": asdict(take.settings), "face": _face_facts(take)}
    sound = None if take.sound is None else take.sound.pair
    write_video(path, take.frames, take.fps, audio=sound, metadata={"comment": json.dumps(facts)})
    sheet = path.with_suffix(".png")
    save_sheet(sheet, sheet_rows(take))
    return sheet


def sheet_rows(take: Take) -> dict[str, Sequence[np.ndarray] | np.ndarray]:
    """Rows of a contact sheet: mesh over result; with a face pass also what it was given, and the faces."""
    if take.body is None or take.track is None:
        return {"mesh": take.mesh, "result": take.frames}
    return {
        "mesh": take.mesh,
        "body pass": take.body,
        "result": take.frames,
        "face: mesh": take.track.mesh.numpy(),
        "face: body pass": _FaceCrops(take.body, take.track),
        "face: result": _FaceCrops(take.frames, take.track),
    }


class _FaceCrops(Sequence[np.ndarray]):
    """The aligned faces of a clip, cut out of its frames when they are asked for."""

    def __init__(self, frames: np.ndarray, track: FaceTrack) -> None:
        self._frames, self._track = torch.from_numpy(frames), track

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: Any) -> Any:
        return to_bytes(crops_of(self._frames, self._track, torch.tensor([index]))[0])


def _face_facts(take: Take) -> dict[str, Any] | None:
    face = take.face
    if face is None:
        return None
    options = {"track": asdict(face.track), "blend": asdict(face.blend), "posterior": face.posterior}
    return {"settings": asdict(face.settings), **options, "painted": take.n_painted}


def _prepared_face(scene: Scene, device: torch.device) -> Tokens | None:
    """Tokens of the face pass, once everything that it needs was found to be there; None without the pass."""
    face, anchor = scene.face, scene.anchor
    if face is None:
        return None
    codec = codec_of(_vae_of(anchor), face.posterior)
    check_face_network(face_of(anchor), codec, face_card(anchor.card).crop_size)
    if face.appearance is None and anchor.face_reference is None:
        raise AnchorError(
            f"the anchor '{anchor.card.name}' holds no reference picture of the face and its face pass needs"
            " one; pass --face-appearance with an aligned crop (`face-crop` cuts one), or --face off"
        )
    return _tokens(anchor, "face", face.settings, face.appearance, device)


def _tokens(
    anchor: Anchor,
    stage: Stage,
    settings: SamplerSettings,
    picture: np.ndarray | None,
    device: torch.device,
) -> Tokens:
    appearance, null = appearance_tokens(anchor, picture, device, stage)
    if settings.guided and null is None:
        flag = "--guidance-scale" if stage == "body" else "--face-guidance-scale"
        raise AnchorError(
            f"the guidance scale of the {stage} pass is {settings.guidance_scale:g} and the anchor"
            f" '{anchor.card.name}' holds no null tokens, which values above 1 need; pass --text-encoder with"
            f" an SD1.5 checkpoint, or {flag} 1"
        )
    return appearance, null


def _body_of(anchor: Anchor) -> SGDM:
    if anchor.body is None:
        raise AnchorError(
            f"the anchor '{anchor.card.name}' holds no body network; one is needed to make a video;"
            " choose an anchor that was trained for the body"
        )
    return anchor.body


def _vae_of(anchor: Anchor) -> Any:
    if anchor.vae is None:
        raise AnchorError(
            f"the anchor '{anchor.card.name}' holds no VAE; one is needed to decode its latents;"
            " pass --vae with an SD1.5 checkpoint or VAE file"
        )
    return anchor.vae
