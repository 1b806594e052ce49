"""Which bodies a user has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anchor_core.body import STANDIN, body_for, find_bodies, standin_body
from anchor_core.body.find import open_body
from anchor_core.errors import AnchorError

WriteBody = Callable[..., Path]


def test_nothing_but_the_standin(tmp_path: Path) -> None:
    assert list(find_bodies([tmp_path, tmp_path / "none"])) == [STANDIN]
    assert body_for("auto", find_bodies([tmp_path])) is standin_body()


def test_bodies_are_found_by_content(write_body: WriteBody, tmp_path: Path) -> None:
    write_body("models/any name.npz")
    write_body("models/smplx/SMPLX_MALE.npz")
    np.savez(tmp_path / "models" / "motion.npz", pose=np.zeros((2, 55, 3)))
    (tmp_path / "models" / "broken.npz").write_bytes(b"PK")
    bodies = find_bodies([tmp_path / "models"])
    assert list(bodies) == [STANDIN, "any name.npz", "smplx/SMPLX_MALE.npz"]


def test_auto_goes_by_gender(write_body: WriteBody, tmp_path: Path) -> None:
    for name in ("SMPLX_FEMALE", "SMPLX_MALE", "SMPLX_NEUTRAL_2020"):
        write_body(f"m/{name}.npz")
    bodies = find_bodies([tmp_path / "m"])
    assert body_for("auto", bodies, "female").name == "SMPLX_FEMALE"
    assert body_for("auto", bodies, "male").name == "SMPLX_MALE"
    assert body_for("auto", bodies, "unknown").name == "SMPLX_NEUTRAL_2020"
    del bodies["SMPLX_NEUTRAL_2020.npz"]
    assert body_for("auto", bodies, "neutral") is standin_body()


def test_unknown_body_names_the_choices(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match="There is no body 'x': choose one of auto, stand-in"):
        body_for("x", find_bodies([tmp_path]))


def test_a_path_is_nothing_a_file_or_a_folder(write_body: WriteBody, tmp_path: Path) -> None:
    assert open_body(None) is standin_body()
    assert open_body(tmp_path) is standin_body()  # a folder without bodies
    path = write_body("SMPLX_MALE.npz")
    assert open_body(path).faces.shape == open_body(tmp_path, "male").faces.shape
