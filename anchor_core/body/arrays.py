"""The arrays of an SMPL-X .npz, read and checked: the file may come from anywhere.

Only the named arrays are read and never a pickle: official files also hold arrays of Python objects.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import AnchorError
from ..motion.archive import archive_keys, read_archive
from ..motion.motion import N_JOINTS

HAND_WIDTH = 45
# key: shape; V is the number of vertices, T of faces, None anything.
_SHAPES: dict[str, tuple[str | int | None, ...]] = {
    "v_template": ("V", 3),
    "f": ("T", 3),
    "shapedirs": ("V", 3, None),
    "posedirs": ("V", 3, 9 * (N_JOINTS - 1)),
    "J_regressor": (N_JOINTS, "V"),
    "weights": ("V", N_JOINTS),
    "kintree_table": (2, N_JOINTS),
    "hands_meanl": (HAND_WIDTH,),
    "hands_meanr": (HAND_WIDTH,),
    "lmk_faces_idx": (51,),
    "lmk_bary_coords": (51, 3),
    "dynamic_lmk_faces_idx": (79, 17),
    "dynamic_lmk_bary_coords": (79, 17, 3),
}
_OPTIONAL_SHAPES: dict[str, tuple[str | int | None, ...]] = {
    "hands_componentsl": (HAND_WIDTH, HAND_WIDTH),
    "hands_componentsr": (HAND_WIDTH, HAND_WIDTH),
}
_NAMES = "expression_names"  # only the stand-in has it


def is_body_file(path: str | os.PathLike[str]) -> bool:
    """True when the .npz has all arrays of an SMPL-X model; reads the directory of the archive only."""
    try:
        return set(_SHAPES) <= set(archive_keys(path))
    except AnchorError:
        return False


def read_body_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The checked arrays of an SMPL-X .npz; an AnchorError of one sentence says what is wrong with it."""
    name = Path(path).name
    if not os.path.isfile(path):
        raise AnchorError(f"There is no body model {Path(path)}: check the path, or use the stand-in.")
    present = set(archive_keys(path))
    missing = [key for key in _SHAPES if key not in present]
    if missing:
        raise AnchorError(
            f"{name} lacks {', '.join(missing)}: give the .npz of an SMPL-X model (SMPLX_NEUTRAL.npz), "
            "not of SMPL, SMPL-H or a motion."
        )
    arrays = read_archive(path, (*_SHAPES, *_OPTIONAL_SHAPES, _NAMES))
    try:
        check_body_arrays(arrays)
    except AnchorError as error:
        raise AnchorError(f"{name}: {error}") from error
    return arrays


def check_body_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise an AnchorError when a shape, a type, a number or an index does not fit an SMPL-X model."""
    sizes = {"V": len(np.atleast_1d(arrays["v_template"])), "T": len(np.atleast_1d(arrays["f"]))}
    for key, shape in {**_SHAPES, **_OPTIONAL_SHAPES}.items():
        if key in arrays:
            _check_array(key, arrays[key], [sizes.get(n) if isinstance(n, str) else n for n in shape])
    names = arrays.get(_NAMES)
    if names is not None and (names.ndim != 1 or names.dtype.kind != "U"):
        raise AnchorError(f"'{_NAMES}' is not a list of names: use another file.")
    limits = {"f": sizes["V"], "lmk_faces_idx": sizes["T"], "dynamic_lmk_faces_idx": sizes["T"]}
    for key, limit in limits.items():
        if not arrays["f"].size or arrays[key].min() < 0 or arrays[key].max() >= limit:
            raise AnchorError(f"'{key}' points outside of the mesh (0 to {limit - 1}): use another file.")
    if any(not 0 <= parent < joint for joint, parent in enumerate(joint_parents(arrays)) if joint):
        raise AnchorError("'kintree_table' does not name each parent before its children: use another file.")


def joint_parents(arrays: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """Parent of each joint, -1 for the root (whose entry in the files is -1 or 2**32 - 1)."""
    return (-1, *(int(parent) for parent in arrays["kintree_table"][0, 1:]))


def split_shapedirs(width: int) -> tuple[int, int]:
    """Numbers of shape and expression directions: 300 + 100 in the full files, 10 + 10 in the small ones."""
    if width >= 400:
        return 300, 100
    if width == 20:
        return 10, 10
    raise AnchorError(
        f"'shapedirs' has {width} directions and an SMPL-X model has 20 or 400: use another file."
    )


def _check_array(key: str, array: np.ndarray, shape: list[int | None]) -> None:
    fits = array.ndim == len(shape)
    if not fits or any(b is not None and a != b for a, b in zip(array.shape, shape, strict=True)):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise AnchorError(
            f"'{key}' has shape {array.shape} and an SMPL-X model has ({wanted}): use another file."
        )
    if array.dtype.kind not in "fiu":
        raise AnchorError(f"'{key}' holds {array.dtype} and needs to hold numbers: use another file.")
    # The sum is not finite when one number is not, and takes no second array of the same size.
    if array.dtype.kind == "f" and not np.isfinite(array.sum(dtype=np.float64)):
        raise AnchorError(f"'{key}' holds numbers that are not finite: use another file.")
