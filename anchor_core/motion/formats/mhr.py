"""Pose data of SAM 3D Body as ComfyUI's own nodes give it, with the faces of its MediaPipe nodes.

A frame of MHR_POSE_DATA is a list of people, one dictionary each: `pred_keypoints_3d` (70, 3) and
`pred_joint_coords` (127, 3) in metres about the person, `pred_cam_t` (3) from there to the camera,
`focal_length` in pixels; x right, y down, z away, the principal point in the middle of the picture.

Points, not rotations, are read: the rotations are those of Meta's rig (MHR), which has another rest pose and
other axes than SMPL-X. The rig's 72 face shapes are not read: they are neither ARKit's nor SMPL-X's. The face
comes from MediaPipe's coefficients instead.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ...errors import AnchorError
from ..camera import Camera
from ..describe import stretches
from ..finish import finish
from ..motion import Motion, Validity
from ..rest import SIDES, rest_points
from ..solve import pose_from_joints
from .mediapipe import face_from_arkit
from .parts import Parts, ReadOptions, choose_person

logger = logging.getLogger("anchor")

Array = np.ndarray

SOURCE = "SAM 3D Body"
_N_KEYPOINTS, _N_JOINTS = 70, 127
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_PAIRED = ("eye", "ear", "shoulder", "elbow", "hip", "knee", "ankle")  # keypoints 1-14, left before right
_FADE_S = 0.2  # in which a face that is lost for long comes to rest


def _keypoints() -> dict[str, int]:
    """Names of our points and the numbers of the 70 keypoints ("mhr70") that they are."""
    table = {"nose": 0, "left_wrist": 62, "right_wrist": 41, "neck": 69}
    for i, name in enumerate(_PAIRED):
        table |= {f"left_{name}": 1 + 2 * i, f"right_{name}": 2 + 2 * i}
    for side, toes, fingers, elbow in (("left", 15, 42, 63), ("right", 18, 21, 64)):
        table |= {f"{side}_{name}": toes + i for i, name in enumerate(("big_toe", "small_toe", "heel"))}
        table |= {f"{side}_elbow_tip": elbow, f"{side}_elbow_pit": elbow + 2}
        for i, finger in enumerate(_FINGERS):  # four points each, the tip first
            table |= {f"{side}_{finger}{k or '_tip'}": fingers + 4 * i + (4 - k) % 4 for k in range(4)}
    return table


KEYPOINTS = _keypoints()
RIG_JOINTS = {
    "pelvis": 1,
    "spine1": 35,
    "spine2": 36,
    "spine3": 37,
    "neck": 110,
    "head": 113,
    "head_top": 126,
    **{"left_hip": 2, "left_knee": 3, "left_ankle": 4, "right_hip": 18, "right_knee": 19, "right_ankle": 20},
    **{"right_collar": 38, "right_shoulder": 39, "right_elbow": 40, "right_wrist": 42},
    **{"left_collar": 74, "left_shoulder": 75, "left_elbow": 76, "left_wrist": 78},
}
"""Names of our points and the numbers of the rig's 127 joints that they are."""
_MIDDLE_REST = {
    "pelvis": (0.0, 0.0, 0.0),
    "spine1": (0.0, 0.131, -0.021),
    "spine2": (0.0, 0.240, -0.047),
    "spine3": (0.0, 0.424, -0.037),
    "neck": (0.0, 0.518, 0.007),
    "head": (0.0, 0.613, 0.035),
    "head_top": (0.0, 0.804, 0.035),
}
RIG_REST = {
    **_MIDDLE_REST,
    **{f"{side}_collar": (sign * 0.028, 0.482, 0.064) for side, sign in zip(SIDES, (1, -1), strict=True)},
    **{f"{side}_shoulder": (sign * 0.176, 0.495, -0.032) for side, sign in zip(SIDES, (1, -1), strict=True)},
}
"""Where the rig has its joints of the torso at rest: metres from its root, y up, facing +z. They lie
elsewhere in the body than SMPL-X's."""
_RIG_PLACES = {name: np.array(place) for name, place in RIG_REST.items()}


def motion_from_pose_data(
    pose_data: Mapping[str, Any],
    fps: float,
    person: int | None = None,
    face: Mapping[str, Any] | None = None,
    max_gap_s: float = 0.5,
) -> Motion:
    """The motion of one person, in the cv world, with the camera of the video; hands absolute.

    pose_data: MHR_POSE_DATA, see the module text. fps: frames per second of the video. person: number of the
    person in the frames' lists; may be left out when there is one. face: FACE_LANDMARKS of the same frames,
    or None; the face at the person's nose is taken, and one that is lost for longer than `max_gap_s` comes to
    rest. max_gap_s: seconds without the person that are interpolated; longer ones are refused.

    The camera stands at the origin, does not move and has the median focal length; where the focal length
    changes, the depth changes instead. Raises AnchorError where the data is of another kind.
    """
    if fps is None:
        raise AnchorError("The pose data does not say its frames per second: give fps, that of the video.")
    options = ReadOptions(fps=fps, world="cv", hands="absolute", max_gap_s=max_gap_s)
    people = _person_frames(pose_data, person)
    joints, focal = _points(people)
    pose, translation = pose_from_joints(joints, _RIG_PLACES if "pelvis" in joints else None)
    camera = _camera(pose_data, float(np.nanmedian(focal)))
    pelvis = translation + rest_points()["pelvis"]
    pelvis[:, 2] *= camera.focal_px[0] / focal
    expression = np.zeros((len(pose), 0))
    if face is not None:
        faces = _faces(face, len(pose), joints["nose"], camera)
        expression, pose[:, 22], pose[:, 23:25] = _settled(faces, round(max_gap_s * fps), _FADE_S * fps)
    seen = face is not None
    parts = Parts(
        source=SOURCE,
        pose=pose,
        translation=pelvis - rest_points()["pelvis"],
        expression=expression,
        fps=fps,
        world="cv",
        hands="absolute",
        expression_space="arkit52" if seen else "none",
        camera=camera,
        valid=Validity(jaw=seen, eyes=seen, expression=seen),
    )
    return finish(parts, options)


def _person_frames(pose_data: Mapping[str, Any], person: int | None) -> list[Mapping[str, Any] | None]:
    """The dictionary of one person per frame, None where it is not there."""
    frames = pose_data.get("frames") if isinstance(pose_data, Mapping) else None
    if not isinstance(frames, Sequence) or not all(isinstance(people, Sequence) for people in frames):
        raise AnchorError("The pose data holds no frames with people: connect the pose data of SAM 3D Body.")
    count = max((len(people) for people in frames), default=0)
    if not count:
        raise AnchorError(
            f"The pose data has nobody in its {len(frames)} frames: give a video, or boxes, with the person."
        )
    number = choose_person([str(i) for i in range(count)], None if person is None else str(person))
    return [people[number] if number < len(people) else None for people in frames]


def _points(people: Sequence[Mapping[str, Any] | None]) -> tuple[dict[str, Array], Array]:
    """Named points (F, 3) in the camera's space and focal lengths (F,) in pixels; NaN without the person."""
    place = _stacked(people, "pred_cam_t", (1, 3))
    keypoints = _stacked(people, "pred_keypoints_3d", (_N_KEYPOINTS, 3)) + place
    joints = {name: keypoints[:, i] for name, i in KEYPOINTS.items()}
    if all(one is None or one.get("pred_joint_coords") is not None for one in people):
        rig = _stacked(people, "pred_joint_coords", (_N_JOINTS, 3)) + place
        joints |= {name: rig[:, i] for name, i in RIG_JOINTS.items()}
    focal = _stacked(people, "focal_length", (1,))[:, 0]
    focal[~np.isfinite(focal)] = np.nan
    least = min(focal[~np.isnan(focal)], default=np.nan)
    if not least > 0:
        raise AnchorError(f"The pose data has a focal length of {least} px: it needs more than 0.")
    return joints, focal


def _stacked(people: Sequence[Mapping[str, Any] | None], key: str, shape: tuple[int, ...]) -> Array:
    """One array (F, *shape) in float64, with rows of NaN for frames without the person."""
    rows = np.full((len(people), *shape), np.nan)
    for i, one in enumerate(people):
        if one is None:
            continue
        value = one.get(key) if isinstance(one, Mapping) else None
        try:
            array = np.asarray(value.detach().float().cpu() if isinstance(value, Tensor) else value)
        except ValueError:  # lists of several lengths
            array = np.empty(0, object)
        if array.dtype.kind not in "fiu" or array.size != rows[i].size:
            raise AnchorError(
                f"'{key}' of frame {i} has shape {array.shape} and needs {shape}: connect the pose data of "
                "SAM 3D Body, unchanged."
            )
        rows[i] = array.reshape(shape)
    return rows


def _camera(pose_data: Mapping[str, Any], focal_px: float) -> Camera:
    try:
        height, width = (int(size) for size in pose_data["image_size"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AnchorError(
            "The pose data does not say its image_size (height, width): connect the pose data of SAM 3D Body."
        ) from error
    return Camera((focal_px, focal_px), (width / 2, height / 2), (width, height), (0.0, 0.0, 0.0))


def _faces(face: Mapping[str, Any], n_frames: int, nose: Array, camera: Camera) -> tuple[Array, Array, Array]:
    """Expression, jaw and eyes of the face at the person's nose in each frame; rows of NaN without one."""
    frames = face.get("frames") if isinstance(face, Mapping) else None
    if not isinstance(frames, Sequence) or len(frames) != n_frames:
        found = len(frames) if isinstance(frames, Sequence) else "no"
        raise AnchorError(
            f"The face data has {found} frames and the pose data {n_frames}: detect both in the same frames."
        )
    size = face.get("image_size")
    try:
        height, width = camera.size[::-1] if size is None else (float(one) for one in size)
        scale = np.array([width, height]) / camera.size
        pixel = (nose[:, :2] / nose[:, 2:] * camera.focal_px + camera.center_px) * scale
        faces = [_nearest(found, place) for found, place in zip(frames, pixel, strict=True)]
    except (KeyError, TypeError, ValueError) as error:
        raise AnchorError(
            "The face data lacks image_size (height, width), or boxes and blendshapes of its faces: connect "
            "the face data of the MediaPipe nodes, unchanged."
        ) from error
    return face_from_arkit(faces)


def _nearest(faces: Sequence[Mapping[str, Any]], nose: Array) -> Mapping[str, float] | None:
    """Coefficients of the face whose box has the nose in it or nearly so; the nearest of several."""
    best, least = None, 1.0
    for face in faces:
        x0, y0, x1, y1 = np.asarray(face["bbox_xyxy"], float)
        size = max(x1 - x0, y1 - y0, 1e-6)
        distance = float(np.hypot(nose[0] - (x0 + x1) / 2, nose[1] - (y0 + y1) / 2) / size)
        if distance < least or (len(faces) == 1 and not np.isfinite(distance)):
            best, least = face["blendshapes"], distance
    return best


def _settled(faces: Sequence[Array], longest: int, fade: float) -> list[Array]:
    """The faces without gaps: interpolated, but at rest in stretches of more than `longest` frames, where the
    faces at both ends fade within `fade` frames."""
    lost = np.isnan(faces[0]).any(axis=1)
    known = np.flatnonzero(~lost)
    if not len(known):
        logger.warning("No face was found beside the person: jaw, eyes and expression stay at rest.")
        return [np.zeros_like(rows) for rows in faces]
    long = _long_stretches(lost, longest)
    if long.any():
        logger.warning(
            f"The face is lost in {int(long.sum())} of {len(long)} frames and at rest there, first in frame "
            f"{int(long.argmax())}."
        )
    frames = np.arange(len(lost))
    before = known[np.maximum(np.searchsorted(known, frames, "right") - 1, 0)]
    after = known[np.minimum(np.searchsorted(known, frames), len(known) - 1)]
    nearest = np.where(np.abs(frames - before) <= np.abs(after - frames), before, after)
    weight = np.clip(1 - np.abs(frames - nearest) / max(fade, 1e-6), 0, 1)
    settled = []
    for rows in faces:
        flat = rows.reshape(len(rows), -1)
        whole = np.stack([np.interp(frames, known, column[known]) for column in flat.T], axis=1)
        whole[long] = flat[nearest[long]] * weight[long, None]
        settled.append(whole.reshape(rows.shape))
    return settled


def _long_stretches(marks: Array, longest: int) -> Array:
    """The marks (F,) of stretches that are longer than `longest` frames."""
    long = np.zeros_like(marks)
    for first, last in stretches(marks):
        long[first : last + 1] = last + 1 - first > longest
    return long
