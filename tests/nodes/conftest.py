"""The nodes, imported without a ComfyUI."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .stand_in_host import PACK, import_pack


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base directory of the host that is not there."""
    folder = tmp_path_factory.mktemp("base")
    for name in ("input", "models/anchors", "models/smplx", "models/vae"):
        (folder / name).mkdir(parents=True)
    return folder


@pytest.fixture(scope="session")
def nodes(base: Path) -> Iterator[Any]:
    """The package `nodes`; afterwards no trace of the stand-ins is left for other tests."""
    before = dict(sys.modules)
    yield import_pack(base)
    for name in set(sys.modules) - set(before):
        if name.split(".")[0] in (PACK, "comfy", "comfy_api", "folder_paths", "latent_preview", "nodes"):
            del sys.modules[name]


@pytest.fixture(scope="session")
def node_classes(nodes: Any) -> list[Any]:
    """All node classes, as the host gets them."""
    import asyncio

    listed: list[Any] = asyncio.run(nodes.AnchorExtension().get_node_list())
    return listed
