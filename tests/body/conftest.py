"""Random bodies in the SMPL-X format: they have all that the stand-in lacks (PCA hands, pose correctives)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anchor_core.body import standin_body

N_VERTICES, N_FACES = 60, 90


def random_arrays(n_dirs: int = 20, n_vertices: int = N_VERTICES, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    weights = rng.random((n_vertices, 55)) ** 8
    hands = [np.linalg.qr(rng.normal(size=(45, 45)))[0] for _ in range(2)]
    arrays = {
        "v_template": rng.normal(size=(n_vertices, 3)),
        "f": rng.integers(0, n_vertices, (N_FACES, 3)).astype(np.uint32),
        "shapedirs": rng.normal(size=(n_vertices, 3, n_dirs)).astype(np.float32) * 0.1,
        "posedirs": rng.normal(size=(n_vertices, 3, 486)).astype(np.float32) * 0.01,
        "J_regressor": rng.random((55, n_vertices)) / n_vertices,
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([[2**32 - 1, *standin_body().parents[1:]], range(55)], dtype=np.uint32),
        "hands_meanl": rng.normal(size=45) * 0.2,
        "hands_meanr": rng.normal(size=45) * 0.2,
        "hands_componentsl": hands[0],
        "hands_componentsr": hands[1],
        "lmk_faces_idx": rng.integers(0, N_FACES, 51),
        "lmk_bary_coords": rng.dirichlet(np.ones(3), 51),
        "dynamic_lmk_faces_idx": rng.integers(0, N_FACES, (79, 17)),
        "dynamic_lmk_bary_coords": rng.dirichlet(np.ones(3), (79, 17)),
    }
    return {key: value for key, value in (arrays | changes).items() if value is not None}


@pytest.fixture
def write_body(tmp_path: Path) -> Callable[..., Path]:
    """Writes a random body: write_body(name, n_dirs=20, n_vertices=60, key=array or None to leave it out)."""

    def write(name: str = "body.npz", **changes: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **random_arrays(**changes))
        return path

    return write
