"""Who may import what: the core no host, two files of the nodes the host, nobody a model library early."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .stand_in_host import ROOT

HOST = {
    "comfy",
    "comfy_api",
    "comfy_execution",
    "folder_paths",
    "latent_preview",
    "server",
    "nodes",
    "execution",
}
HEAVY = {"diffusers", "transformers", "accelerate", "cv2", "av", "scipy", "smplx", "pyrender", "trimesh"}
CORE, NODES = sorted((ROOT / "anchor_core").rglob("*.py")), sorted((ROOT / "nodes").rglob("*.py"))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).split(".")[0]


def test_the_core_imports_no_host() -> None:
    assert {path.name: found for path in CORE if (found := HOST & set(_imported(path)))} == {}


def test_each_part_of_the_host_is_touched_by_one_file() -> None:
    touching = {path.name: (HOST - {"comfy_api"}) & set(_imported(path)) for path in NODES}
    assert {name: parts for name, parts in touching.items() if parts} == {
        "_host.py": {"comfy", "latent_preview"},
        "_folders.py": {"folder_paths"},
    }


def test_the_pack_is_imported_relatively() -> None:
    assert {path.name for path in NODES if {"anchor_core", "nodes"} & set(_imported(path))} == set()


def test_there_is_one_entry_point() -> None:
    source = (ROOT / "__init__.py").read_text()
    assert "comfy_entrypoint" in source
    assert "NODE_CLASS_MAPPINGS" not in source


@pytest.mark.parametrize("path", [*NODES, ROOT / "__init__.py"], ids=lambda path: path.name)
def test_no_forbidden_calls(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        assert called not in (
            "eval",
            "exec",
            "print",
            "torch.load",
            "pickle.load",
            "os.system",
            "subprocess.run",
        )
        assert not called.startswith("torch.cuda"), called
        assert called != "np.load" or "allow_pickle=True" not in ast.unparse(node)


def test_importing_the_nodes_loads_no_model_library(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from stand_in_host import import_pack; import torch; before = set(sys.modules)\n"
        "import_pack(Path(sys.argv[2])); print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "tests" / "nodes"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert set(done.stdout.split()) & HEAVY == set()
