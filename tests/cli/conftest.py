"""A person and a motion small enough to film in a second."""

from __future__ import annotations

from pathlib import Path

import pytest

from anchor_core.anchor.file import save_anchor
from anchor_core.cli.options import DEMO_MOTION

from ..anchor import models


@pytest.fixture(scope="session")
def anchor_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An anchor with random weights and everything in it."""
    path = tmp_path_factory.mktemp("anchors") / "ada.safetensors"
    save_anchor(models.tiny_anchor(), path)
    return path


@pytest.fixture(scope="session")
def face_anchor_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a face network."""
    path = tmp_path_factory.mktemp("anchors") / "ada_face.safetensors"
    save_anchor(models.tiny_face_anchor(), path)
    return path


@pytest.fixture
def motion_file() -> Path:
    """The motion that ships."""
    return DEMO_MOTION
