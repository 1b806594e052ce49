"""How much a motion moves, frame by frame: hands, head, jaw and expression; the lines of the timeline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .motion import Motion
from .place import TO_CV
from .rotations import matrix_from_axis_angle

_HEAD_CHAIN = (0, 3, 6, 9, 12, 15)
_JAW = 22
_HANDS = (20, 21, *range(25, 55))
_CHUNK = 1024  # frames whose matrices are held at once


@dataclass(frozen=True, eq=False)
class Energy:
    """Speeds (F,) float64 between each frame and the one before; frame 0 has that of frame 1.

    hands: m/s, mean over wrists and finger joints, as seen from the pelvis. head: degrees/s in the world.
    jaw: degrees/s. expression: change of the coefficients per second, the norm over all.
    """

    hands: np.ndarray
    head: np.ndarray
    jaw: np.ndarray
    expression: np.ndarray


def measure_energy(motion: Motion) -> Energy:
    """The speeds of a motion; distances are those of the stand-in's skeleton."""
    n_frames = motion.n_frames
    # Each chunk begins with the last frame of the one before it: speeds are between neighbours.
    starts = range(0, max(1, n_frames - 1), _CHUNK)
    parts = [_speeds(motion, start, min(n_frames, start + _CHUNK + 1)) for start in starts]
    hands, head, jaw, expression = (_of_all(list(row), motion.fps) for row in zip(*parts, strict=True))
    return Energy(hands, head, jaw, expression)


def _of_all(parts: list[np.ndarray], fps: float) -> np.ndarray:
    steps = np.concatenate(parts)
    return fps * (np.concatenate([steps[:1], steps]) if len(steps) else np.zeros(1))


def _speeds(motion: Motion, start: int, stop: int) -> tuple[np.ndarray, ...]:
    """What changes from each of these frames to the next: metres, degrees, degrees, coefficients."""
    rotations = matrix_from_axis_angle(motion.pose[start:stop])
    head = TO_CV[motion.world] @ rotations[:, 0]
    for joint in _HEAD_CHAIN[1:]:
        head = head @ rotations[:, joint]
    places = np.diff(_hand_places(rotations), axis=0)
    expression = np.diff(motion.expression[start:stop].astype(np.float64), axis=0)
    return (
        np.linalg.norm(places, axis=-1).mean(axis=1),
        _turned_deg(head),
        _turned_deg(rotations[:, _JAW]),
        np.linalg.norm(expression, axis=1),
    )


def _turned_deg(rotations: np.ndarray) -> np.ndarray:
    """Angles (F - 1,) in degrees between neighbours of rotations (F, 3, 3); exact also for small ones."""
    # |R - S| = 2 sqrt(2) sin(angle / 2), in the Frobenius norm.
    chord = np.linalg.norm(np.diff(rotations, axis=0), axis=(1, 2)) / np.sqrt(8)
    return np.degrees(2 * np.arcsin(np.minimum(chord, 1)))


def _hand_places(rotations: np.ndarray) -> np.ndarray:
    """Places (F, 32, 3) of wrists and finger joints in metres, the pelvis at rest, from (F, 55, 3, 3)."""
    from ..body.model import standin_body

    body = standin_body()
    rest = body.joint_template.double().numpy()
    turns = {0: np.broadcast_to(np.eye(3), (len(rotations), 3, 3))}
    places = {0: np.broadcast_to(rest[0], (len(rotations), 3))}
    for joint, parent in enumerate(body.parents[1:], start=1):
        places[joint] = places[parent] + turns[parent] @ (rest[joint] - rest[parent])
        turns[joint] = turns[parent] @ rotations[:, joint]
    return np.stack([places[joint] for joint in _HANDS], axis=1)
