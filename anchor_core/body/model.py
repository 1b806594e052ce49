"""SMPL-X body models (arXiv 1904.05866): the user's licensed .npz, or the stand-in that ships with the pack.

The stand-in is a CC0 body in the same format; it has no hand PCA, and its expressions are the 52 of ARKit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import AnchorError
from ..files import ASSETS
from .arrays import HAND_WIDTH, joint_parents, read_body_arrays, split_shapedirs


@dataclass(frozen=True, eq=False)
class BodyModel:
    """A body to pose, with V vertices and T faces: metres, y up, facing +z in its rest pose.

    shape_dirs (V*3, S) and expression_dirs (V*3, E) move the template; pose_dirs (V*3, 486) corrects bent
    joints, or is None. joint_*: the same for the 55 joints, already regressed. hand_mean: (30, 3) radians.
    hand_components: (2, 45, 45) PCA of the left and right hand, or None. landmark_*: 51 inner points of the
    face; contour_*: 17 contour points for each of 79 turns of the head. expression_space: "smplx"
    or "arkit52".
    """

    name: str
    vertices_template: Tensor
    faces: Tensor
    shape_dirs: Tensor
    expression_dirs: Tensor
    pose_dirs: Tensor | None
    joint_template: Tensor
    joint_shape_dirs: Tensor
    joint_expression_dirs: Tensor
    skin_weights: Tensor
    parents: tuple[int, ...]
    hand_mean: Tensor
    hand_components: Tensor | None
    landmark_faces: Tensor
    landmark_bary: Tensor
    contour_faces: Tensor
    contour_bary: Tensor
    expression_space: str
    expression_names: tuple[str, ...]
    n_betas: int
    n_expression: int

    @property
    def n_vertices(self) -> int:
        """Number of vertices V."""
        return len(self.vertices_template)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the vertices."""
        return self.vertices_template.dtype

    @property
    def device(self) -> torch.device:
        """Where the arrays lie."""
        return self.vertices_template.device


def load_body(
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> BodyModel:
    """Read an SMPL-X .npz; an AnchorError of one sentence says what is wrong with the file."""
    arrays = read_body_arrays(path)
    try:
        return _Builder(arrays, dtype, torch.device(device)).body(Path(path).stem)
    except AnchorError as error:
        raise AnchorError(f"{Path(path).name}: {error}") from error


@cache
def standin_body(dtype: torch.dtype = torch.float32) -> BodyModel:
    """The CC0 body that ships with the pack, read once per process."""
    return load_body(ASSETS / "standin.npz", dtype=dtype)


@dataclass(frozen=True)
class _Builder:
    arrays: dict[str, np.ndarray]
    dtype: torch.dtype
    device: torch.device

    def body(self, name: str) -> BodyModel:
        arrays = self.arrays
        n_betas, n_expression = split_shapedirs(arrays["shapedirs"].shape[2])
        blends = self._blends(n_betas, n_expression)
        return BodyModel(
            name=name,
            vertices_template=self._floats(arrays["v_template"]),
            faces=self._indices("f"),
            **blends,
            pose_dirs=self._floats(_by_vertex(arrays["posedirs"])) if arrays["posedirs"].any() else None,
            skin_weights=self._floats(arrays["weights"]),
            parents=joint_parents(arrays),
            hand_mean=self._floats(np.stack([arrays["hands_meanl"], arrays["hands_meanr"]]).reshape(30, 3)),
            hand_components=self._hand_components(),
            landmark_faces=self._indices("lmk_faces_idx"),
            landmark_bary=self._floats(arrays["lmk_bary_coords"]),
            contour_faces=self._indices("dynamic_lmk_faces_idx"),
            contour_bary=self._floats(arrays["dynamic_lmk_bary_coords"]),
            expression_space="arkit52" if "expression_names" in arrays else "smplx",
            expression_names=tuple(str(word) for word in arrays.get("expression_names", ())),
            n_betas=n_betas,
            n_expression=n_expression,
        )

    def _blends(self, n_betas: int, n_expression: int) -> dict[str, Tensor]:
        """Directions of shape and expression, for the vertices and for the joints."""
        dirs, regressor = self.arrays["shapedirs"], self.arrays["J_regressor"].astype(np.float64)
        # The joints are linear in the vertices: regress template and directions once, not every frame.
        blends = {"joint_template": self._floats(regressor @ self.arrays["v_template"])}
        parts = {"shape": slice(0, n_betas), "expression": slice(n_betas, n_betas + n_expression)}
        for word, columns in parts.items():
            used = dirs[:, :, _used_columns(dirs, columns)]
            joints = (regressor @ used.reshape(len(used), -1)).reshape(len(regressor), 3, used.shape[2])
            blends[f"{word}_dirs"] = self._floats(_by_vertex(used))
            blends[f"joint_{word}_dirs"] = self._floats(_by_vertex(joints))
        return blends

    def _hand_components(self) -> Tensor | None:
        """PCA basis of both hands; an identity (the stand-in) says that there is none."""
        keys = ("hands_componentsl", "hands_componentsr")
        if any(key not in self.arrays for key in keys):
            return None
        basis = np.stack([self.arrays[key] for key in keys])
        return None if np.array_equal(basis[0], np.eye(HAND_WIDTH)) else self._floats(basis)

    def _floats(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=self.dtype, device=self.device)

    def _indices(self, key: str) -> Tensor:
        return torch.as_tensor(self.arrays[key].astype(np.int64), device=self.device)


def _by_vertex(blend: np.ndarray) -> np.ndarray:
    """(V, 3, N) -> (V*3, N)."""
    return blend.reshape(3 * len(blend), blend.shape[2])  # not -1: a body may have no directions


def _used_columns(blend: np.ndarray, columns: slice) -> slice:
    """The columns without those at the end that are all zero: they cost memory and move nothing."""
    stop = columns.stop
    while stop > columns.start and not blend[:, :, stop - 1].any():
        stop -= 1
    return slice(columns.start, stop)
