"""Fixtures for all tests: where the shared real data lies, and how the core is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# ComfyUI has modules named `nodes` and `tests` of its own: the root never stands first on the path.
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with real motions, pictures and golden vectors, or a skip that says so."""
    folder = Path(os.environ.get("ANCHOR_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(
            f"real data not found at {folder}: set ANCHOR_SHARED to the folder that holds data/ and goldens/"
        )
    return folder


@pytest.fixture(scope="session")
def shared_data(shared_dir: Path) -> Path:
    """Real motion, video and pictures."""
    return shared_dir / "data"


@pytest.fixture(scope="session")
def goldens(shared_dir: Path) -> Path:
    """Outputs of the published code on tiny random weights."""
    return shared_dir / "goldens"
