"""Synthetic motion of a seated presenter: hands that underline speech, a nodding head, a talking face.

The motion is keyframed at random from a seed: arm targets with smooth moves, holds and beats at the
syllables (`arm_poses`), everything else as low-passed noise. It stands in for the motion that an estimator
would read from a video of one minute.
"""

from __future__ import annotations

import numpy as np

from ..motion.camera import Camera, default_camera
from ..motion.motion import Motion
from ..motion.perturb import smooth_noise
from ..motion.place import PLACE_ROOT, PLACE_TRANSLATION, seat
from ..motion.rotations import axis_angle_from_matrix, matrix_from_axis_angle
from .arm_poses import ARM_KEYS, SHOULDER, finger_joints, hand_shape, mirrored, rotation_x, solve_arm
from .signals import Array, eased, pulses, smoothed
from .talking import Speech, face_expression, gaze, jaw_angle, make_speech

SPINE, NECK, HEAD, JAW, EYES = (3, 6, 9), 12, 15, 22, (23, 24)
_SHOULDER_HEIGHT = 0.37  # above the joint that leans, metres
# (left, right) gestures and how often they come; two-handed ones are drawn as a pair.
PAIRS = {
    ("clasp", "clasp"): 2.2,
    ("rest", "rest"): 1.5,
    ("open", "open"): 2.0,
    ("wide", "wide"): 1.2,
    ("chop", "chop"): 1.2,
    ("open", "rest"): 1.5,
    ("rest", "palm"): 1.0,
    ("count", "rest"): 1.0,
    ("rest", "raise"): 1.0,
    ("pinch", "rest"): 1.0,
    ("rest", "pinch"): 1.0,
    ("heart", "rest"): 0.8,
    ("rest", "heart"): 0.6,
    ("rest", "side"): 0.9,
    ("side", "rest"): 0.7,
    ("rest", "aim"): 0.6,
    ("fist", "open"): 0.7,
    ("palm", "palm"): 0.6,
    ("chop", "rest"): 1.0,
}


def make_motion(seed: int, n_frames: int, fps: float = 25.0, camera: Camera | None = None) -> Motion:
    """A talking, gesturing, seated presenter of `n_frames` frames, the same for the same seed.

    World "cv", absolute hands, ARKit expressions, no betas; camera: the default camera unless given.
    """
    rng = np.random.default_rng([seed, 4711])
    times = np.arange(n_frames) / fps
    speech = make_speech(rng, times)
    pose = np.zeros((n_frames, 55, 3))
    pose[:, 0] = PLACE_ROOT
    seat(pose)
    head = _head_motion(rng, speech, times, fps)
    pose[:, NECK], pose[:, HEAD] = 0.4 * head, 0.6 * head
    spine = _spine_motion(rng, n_frames, fps)
    lean = spine[..., 0].sum(1)
    pose[:, SPINE] = spine
    pose[:, HEAD, 0] -= 0.3 * lean
    pose[:, JAW, 0] = jaw_angle(speech, times)
    pose[:, EYES, :] = gaze(rng, head, fps)[:, None]
    _add_arms(rng, pose, speech, times, lean)
    return Motion(
        pose=pose,
        translation=np.tile(np.array(PLACE_TRANSLATION), (n_frames, 1)),
        expression=face_expression(rng, speech, times, fps),
        fps=fps,
        world="cv",
        hands="absolute",
        expression_space="arkit52",
        camera=camera or default_camera(),
        source=f"synthetic presenter, seed {seed}",
    )


def _spine_motion(rng: np.random.Generator, n_frames: int, fps: float) -> Array:
    """Rotations of the spine (F, 3, 3): a posture that stays, upright to leaning forward, and a slow sway.

    Estimates of seated speakers (SHOW, TalkSHOW) lean forward by about 0.45 rad, nearly all in the
    lowest joint.
    """
    posture = np.zeros((3, 3))
    posture[:, 0] = rng.uniform(0.0, 0.5), rng.normal(0.0, 0.03), rng.uniform(0.0, 0.12)
    sway = smooth_noise(rng, n_frames, fps, 3.0, 3) * np.array([0.016, 0.022, 0.013])
    spine = posture + sway[:, None]
    spine[:, 0, 0] += 0.03 * smooth_noise(rng, n_frames, fps, 2.0)[:, 0]
    return spine


def _head_motion(rng: np.random.Generator, speech: Speech, times: Array, fps: float) -> Array:
    """Head rotation relative to the chest (F, 3): slow turns, nods at stressed syllables, a tilt."""
    n_frames = len(times)
    slow = smooth_noise(rng, n_frames, fps, 1.8, 3) * np.array([0.055, 0.14, 0.045])
    starts, ends, values = _schedule(rng, times, 1, (0.9, 2.4))
    slow[:, 1] += eased(times, starts, ends, 0.16 * values)[:, 0]
    stressed = speech.strengths > 0.7
    nod = pulses(
        times, speech.centres[stressed], 0.05 * speech.strengths[stressed], 2 * speech.widths[stressed]
    )
    slow[:, 0] += nod + 0.02
    return slow + 0.006 * smooth_noise(rng, n_frames, fps, 0.4, 3)


def _schedule(
    rng: np.random.Generator, times: Array, channels: int, gap_s: tuple[float, float]
) -> tuple[Array, ...]:
    """Random move times and normal key values: starts (K,), ends (K,), values (K + 1, channels)."""
    count = int(times[-1] / gap_s[0]) + 3
    starts = np.cumsum(rng.uniform(*gap_s, count)) - gap_s[1]
    return starts, starts + rng.uniform(0.35, 0.6, count), rng.standard_normal((count + 1, channels))


def _add_arms(rng: np.random.Generator, pose: Array, speech: Speech, times: Array, lean: Array) -> None:
    """Fill clavicles, arms and fingers of `pose` in place."""
    names, starts, ends = _gesture_plan(rng, times)
    for side in (0, 1):
        delay = rng.uniform(0.0, 0.1, len(starts))
        keys = [ARM_KEYS[pair[side]] for pair in names]
        targets = np.stack(
            [np.concatenate([k.wrist, k.fingers, k.palm, hand_shape(k.shape), [k.beats]]) for k in keys]
        )
        targets[:, :3] += rng.normal(0, 0.012, (len(keys), 3)) * np.array([1, 1, 0.6])
        targets[:, 3:9] += rng.normal(0, 0.08, (len(keys), 6))
        targets[:, 9:15] *= rng.uniform(0.8, 1.15, (len(keys), 6))
        path = eased(times, starts + delay, ends + delay * 2, targets)
        _write_arm(rng, pose, side, _level(smoothed(path, 0.8), lean), speech, times)


def _level(path: Array, lean: Array) -> Array:
    """Targets (F, 16) turned back about the shoulder: hands hardly go along with the chest."""
    turn = rotation_x(-0.85 * lean)
    level = path.copy()
    for part, pivot in ((slice(0, 3), SHOULDER), (slice(3, 6), np.zeros(3)), (slice(6, 9), np.zeros(3))):
        level[:, part] = pivot + np.einsum("fij,fj->fi", turn, path[:, part] - pivot)
    low = np.clip((-0.02 - path[:, 1]) / 0.12, 0, 1)
    level[:, 1] += low * _SHOULDER_HEIGHT * (1 - np.cos(lean))  # the desk does not sink with the shoulders
    return level


def _gesture_plan(rng: np.random.Generator, times: Array) -> tuple[list[tuple[str, str]], Array, Array]:
    """Pairs of gestures (K + 1) and the start and end of the moves between them (K,), in seconds."""
    pairs, weights = list(PAIRS), np.array(list(PAIRS.values()))
    count = int(times[-1] / 0.9) + 4
    holds, moves = rng.uniform(0.35, 1.5, count), rng.uniform(0.38, 0.75, count)
    starts = np.cumsum(holds + moves) - moves - rng.uniform(0, 1.5)
    chosen = rng.choice(len(pairs), count + 1, p=weights / weights.sum())
    swap = rng.random(count + 1) < 0.4
    names = [(pairs[c][1], pairs[c][0]) if s else pairs[c] for c, s in zip(chosen, swap, strict=True)]
    return names, starts, starts + moves


def _write_arm(
    rng: np.random.Generator, pose: Array, side: int, path: Array, speech: Speech, times: Array
) -> None:
    """One arm (side 0 left, 1 right) from its path (F, 16): wrist, fingers, palm, hand shape, beats."""
    fps = 1 / (times[1] - times[0]) if len(times) > 1 else 25.0
    stressed = speech.strengths > 0.45
    beat = pulses(times, speech.centres[stressed], speech.strengths[stressed], 1.3 * speech.widths[stressed])
    sway = smooth_noise(rng, len(times), fps, 0.9, 3) * np.array([0.008, 0.008, 0.004])
    wrist = path[:, :3] + sway
    wrist[:, 1] -= 0.022 * path[:, 15] * (beat - 0.4)
    wrist[:, 2] = np.maximum(wrist[:, 2] + 0.01 * path[:, 15] * beat, 0.2)
    lift = np.clip(0.6 * (wrist[:, 1] + 0.1), -0.02, 0.12)
    collar = np.zeros((len(times), 3))
    collar[:, 2], collar[:, 1] = lift, -0.05
    palm = path[:, 6:9] + 0.05 * smooth_noise(rng, len(times), fps, 0.8, 3)
    arm = solve_arm(wrist, path[:, 3:6], palm, matrix_from_axis_angle(collar))
    joints = [collar, *(axis_angle_from_matrix(matrix) for matrix in arm)]
    shape = path[:, 9:15] * (1 + 0.06 * smooth_noise(rng, len(times), fps, 0.7, 6))
    fingers = finger_joints(shape)
    for joint, angle in zip((13, 16, 18, 20), joints, strict=True):
        pose[:, joint + side] = mirrored(angle) if side else angle
    pose[:, 25 + 15 * side : 40 + 15 * side] = mirrored(fingers) if side else fingers
