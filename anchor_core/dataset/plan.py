"""Opens the recordings before any work is done: names, lengths, cameras and crops, and what does not fit."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..body.model import BodyModel
from ..errors import AnchorError
from ..motion.camera import Camera
from ..motion.edits.time import resample
from ..motion.motion import Motion
from ..motion.read import read_motion
from . import show_folder
from .crop import Extent, check_crop, choose_crop, cut_camera, person_extent
from .footage import SLACK, Footage, open_footage, pictures_in
from .recording import Crop, PrepareOptions, Recording

logger = logging.getLogger("anchor")

_SHAPE = 0.01  # by how much the shapes of video and camera may differ
_SOFT = 0.6  # of the size: crops of fewer pixels are worth a word


@dataclass(frozen=True)
class ClipPlan:
    """One recording that fits. n_frames: of the clip. camera: of the video, at its size. meshes: folder of
    finished mesh renders, None where they are drawn. crop: part of the video that the pictures show."""

    name: str
    recording: Recording
    motion_path: Path
    footage: Footage
    n_frames: int
    camera: Camera
    extent: Extent
    meshes: Path | None = None
    crop: Crop = (0.0, 0.0, 0.0, 0.0)

    @property
    def person(self) -> str:
        """Who is shown."""
        return self.recording.person

    def motion(self, options: PrepareOptions) -> Motion:
        """The motion at the video's frames, seen by the camera of the crop; read anew, for many are large."""
        motion = _at_frames(read_motion(self.motion_path, options.read), self.footage)
        camera = cut_camera(self.camera, self.crop, options.size)
        return replace(motion.sliced(0, self.n_frames), camera=camera, sound=None)


def plan_clips(
    recordings: Sequence[Recording],
    options: PrepareOptions,
    body: BodyModel,
    crops: Mapping[str, Crop] | None = None,
) -> list[ClipPlan]:
    """The clips in the order of the recordings. Raises AnchorError that names the recording.

    crops: those of clips whose pictures are there already; further shots of the same camera follow them.
    """
    found = _named(show_folder.expand(list(recordings)))
    if not found:
        raise AnchorError("There is no recording to prepare: give a video and its motion.")
    plans = []
    for name, recording in found:
        try:
            plans.append(_plan(name, recording, options, body))
        except AnchorError as error:
            said = str(error).startswith(str(recording.video.name))
            raise AnchorError(str(error) if said else f"{recording.video.name}: {error}") from error
    return _with_crops(plans, options, crops or {})


def _plan(name: str, recording: Recording, options: PrepareOptions, body: BodyModel) -> ClipPlan:
    if not recording.video.exists():
        raise AnchorError(f"there is no video at {recording.video}: check the name and the folder.")
    if recording.matte is not None and not recording.matte.exists():
        raise AnchorError(f"there is no matte at {recording.matte}: check the name and the folder.")
    show = recording.video.is_dir() and show_folder.is_show_folder(recording.video)
    if recording.motion is None and not show:
        raise AnchorError("this recording has no motion: give the motion of the person in it.")
    path = recording.motion or show_folder.parameters_of(recording.video)
    motion = read_motion(path, options.read)
    video = show_folder.images_of(recording.video) if show else recording.video
    footage = open_footage(video, motion.fps, len(motion))
    camera = _camera(motion, path, footage, options)
    n_frames = _common_length(recording.video.name, footage, path.name, motion, options)
    extent = person_extent(motion, body, camera)
    meshes = _given_meshes(recording.video, n_frames, options) if show else None
    return ClipPlan(name, recording, path, footage, n_frames, camera, extent, meshes)


def _camera(motion: Motion, path: Path, footage: Footage, options: PrepareOptions) -> Camera:
    camera = motion.camera or options.camera
    if camera is None:
        raise AnchorError(
            f"the motion {path.name} has no camera, so nothing tells where the person is in the picture: "
            "give the parameters of an estimator that has one (SHOW's .pkl), or the camera (--camera JSON)."
        )
    if motion.world != "cv":
        raise AnchorError(
            f"the motion {path.name} is in the world '{motion.world}': a camera needs 'cv', as SHOW has it."
        )
    width, height = footage.size
    shape = (width / height) / (camera.size[0] / camera.size[1])
    if abs(shape - 1) > _SHAPE:
        raise AnchorError(
            f"the video has {width} x {height} pixels and the motion's camera {camera.size[0]} x "
            f"{camera.size[1]}, another shape: give the video that the motion was made from."
        )
    return camera.resized(width, height)


def _common_length(video: str, footage: Footage, file: str, motion: Motion, options: PrepareOptions) -> int:
    moved = len(_at_frames(motion, footage))
    if not options.trim and abs(footage.n_frames - moved) > SLACK:
        raise AnchorError(
            f"{video} has {footage.n_frames} frames ({footage.duration_s:.2f} s at {footage.fps:.5g} fps) "
            f"and the motion {file} has {len(motion)} ({motion.duration_s:.2f} s at {motion.fps:.5g} fps): "
            "give the motion of this video, its rate (--fps), or trim (--trim) to cut both to the shorter."
        )
    return min(footage.n_frames, moved)


def _at_frames(motion: Motion, footage: Footage) -> Motion:
    """The motion with one pose per frame of the video.

    Estimators write one pose for each frame and often another rate than the video's: equal counts are
    believed, other motions are resampled.
    """
    if abs(len(motion) - footage.n_frames) <= SLACK:
        return replace(motion, fps=footage.fps, sound=None)
    return resample(replace(motion, sound=None), footage.fps)


def _given_meshes(folder: Path, n_frames: int, options: PrepareOptions) -> Path | None:
    """SHOW's own renders, where they are wanted and usable."""
    meshes = None if options.meshes == "drawn" else show_folder.meshes_of(folder)
    if meshes is None:
        if options.meshes == "given":
            raise AnchorError(f"{folder} holds no mesh renders (ours_exp/mica_org): choose meshes 'drawn'.")
        return None
    if options.meshes == "auto" and not show_folder.on_black(meshes):
        logger.warning(
            "The meshes of %s lie on the photo, which no published weights know: they are drawn anew.",
            folder,
        )
        return None
    count = len(pictures_in(meshes))
    if count < n_frames:
        raise AnchorError(
            f"{folder} has {count} mesh renders for {n_frames} frames: run SHOW again, or choose "
            "meshes 'drawn'."
        )
    return meshes


def _with_crops(plans: list[ClipPlan], options: PrepareOptions, crops: Mapping[str, Crop]) -> list[ClipPlan]:
    """One crop for all shots of a person with one camera: the backdrop must not jump from shot to shot."""
    groups: dict[object, list[Extent]] = {}
    for plan in plans:
        groups.setdefault(_group(plan), []).append(plan.extent)
    fixed = {_group(plan): crops[plan.name] for plan in plans if plan.name in crops}
    cropped = []
    for plan in plans:
        size = plan.footage.size
        group = _group(plan)
        crop = options.crop or fixed.get(group) or choose_crop(Extent.union(groups[group]), size)
        check_crop(crop, size)
        if min(crop[2:]) < _SOFT * options.size:
            logger.warning(
                "The person of %s fills only %d of %d pixels: pictures of %d pixels are soft; film closer, "
                "or choose a smaller size.",
                plan.name,
                min(crop[2:]),
                min(size),
                options.size,
            )
        cropped.append(replace(plan, crop=crop))
    return cropped


def _group(plan: ClipPlan) -> object:
    return (plan.person, plan.camera.size, plan.camera.focal_px, plan.camera.center_px)


def _named(recordings: list[Recording]) -> list[tuple[str, Recording]]:
    """Each with a name of its own; recordings that name nobody show the person of the first."""
    named: list[tuple[str, Recording]] = []
    taken: set[str] = set()
    for recording in recordings:
        name = _free_name(recording.video.resolve().with_suffix("").name or "clip", taken)
        taken.add(name.casefold())  # on Windows a.npz and A.npz are one file
        first = named[0][1].person if named else name
        named.append((name, replace(recording, person=recording.person or first)))
    return named


def _free_name(stem: str, taken: set[str]) -> str:
    name, number = stem, 2
    while name.casefold() in taken:
        name, number = f"{stem}_{number}", number + 1
    return name
