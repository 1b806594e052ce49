"""Just enough of ComfyUI to import the nodes: schemas are recorded, folders are real, the rest is empty."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

ROOT = Path(__file__).resolve().parents[2]
PACK = "anchor_pack_without_host"


@dataclass
class Schema:
    """The fields of io.Schema that ComfyUI 0.3.64 knows, as far as we use them."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    description: str = ""


class _Record:
    def __init__(self, kind: str, *names: Any, **given: Any) -> None:
        self.io_type, self.extra_dict = kind, None
        self.id = names[0] if names else None
        for name in ("tooltip", "optional", "default", "options", "min", "max", "display_name"):
            setattr(self, name, given.get(name))
        self.given = given


def socket(kind: str) -> Any:
    """A socket type with Input and Output, as io.Custom gives one."""

    def record(*names: Any, **given: Any) -> _Record:
        return _Record(kind, *names, **given)

    return SimpleNamespace(Input=record, Output=record, io_type=kind)


def multi_type(name: str, types: list[Any], **given: Any) -> _Record:
    """An input that takes several types of sockets."""
    return _Record(",".join(kind.io_type for kind in types), name, **given)


class VideoFromFile:
    """A VIDEO that lies on the disk; window: start and length in seconds of the part that it shows."""

    def __init__(self, path: Path, window: tuple[float, float] = (0, 0)) -> None:
        self._path, self._window = path, window

    def get_stream_source(self) -> str:
        return str(self._path)

    def get_active_trim_window(self) -> tuple[float, float]:
        return self._window


class FolderPaths(ModuleType):
    """The calls of folder_paths that we use, over one base directory."""

    def __init__(self, base: Path) -> None:
        super().__init__("folder_paths")
        self.models_dir = str(base / "models")
        self.folder_names_and_paths: dict[str, tuple[list[str], set[str]]] = {}
        for name in ("vae", "checkpoints", "clip_vision", "text_encoders"):
            self.folder_names_and_paths[name] = ([str(base / "models" / name)], {".safetensors"})
        self._input, self._temp, self._output = base / "input", base / "temp", base / "output"

    def add_model_folder_path(self, name: str, path: str) -> None:
        paths, _ = self.folder_names_and_paths.setdefault(name, ([], set()))
        if path not in paths:
            paths.append(path)

    def get_folder_paths(self, name: str) -> list[str]:
        return self.folder_names_and_paths[name][0]

    def get_filename_list(self, name: str) -> list[str]:
        paths, suffixes = self.folder_names_and_paths[name]
        files = (file.relative_to(path) for path in paths for file in Path(path).rglob("*"))
        return sorted(file.as_posix() for file in files if file.suffix in suffixes)

    def get_full_path(self, name: str, file: str) -> str | None:
        found = (Path(path) / Path("/" + file).relative_to("/") for path in self.get_folder_paths(name))
        return next((str(path) for path in found if ".." not in file and path.is_file()), None)

    def get_input_directory(self) -> str:
        return str(self._input)

    def get_temp_directory(self) -> str:
        return str(self._temp)

    def get_output_directory(self) -> str:
        return str(self._output)

    def get_save_image_path(self, prefix: str, folder: str) -> tuple[str, str, int, str, str]:
        return folder, prefix, 1, "", prefix


def import_pack(base: Path) -> Any:
    """The pack's `nodes` package, imported as ComfyUI imports it: by path, under a name of its own."""
    io = SimpleNamespace(Schema=Schema, Custom=socket, ComfyNode=object, NodeOutput=lambda *out, **_ui: out)
    kinds = (
        "Int",
        "Float",
        "Boolean",
        "String",
        "Combo",
        "Image",
        "Mask",
        "Latent",
        "Conditioning",
        "Vae",
        "ClipVision",
        "Audio",
        "Video",
    )
    for kind in kinds:
        setattr(io, kind, socket(kind.upper()))
    io.MultiType = SimpleNamespace(Input=multi_type)
    io.Input = _Record
    latest = ModuleType("comfy_api.latest")
    impl = SimpleNamespace(VideoFromFile=VideoFromFile)
    latest.__dict__.update(io=io, ComfyExtension=object, InputImpl=impl)
    comfy = MagicMock()
    comfy.sd.VAE = type("VAE", (), {})
    modules = {"comfy_api": ModuleType("comfy_api"), "comfy_api.latest": latest, "comfy": comfy}
    for name in (
        "cli_args",
        "latent_formats",
        "model_management",
        "model_patcher",
        "ops",
        "sd",
        "utils",
        "ldm.modules",
    ):
        modules[f"comfy.{name}"] = MagicMock()
    modules["comfy.ldm"], modules["latent_preview"] = MagicMock(), MagicMock()
    modules["nodes"] = ModuleType("nodes")
    modules["nodes"].__dict__.update(NODE_CLASS_MAPPINGS={"SAM3DBody_Predict": object})
    modules["folder_paths"] = FolderPaths(base)
    sys.modules.update(modules)
    spec = importlib.util.spec_from_file_location(
        PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[PACK] = pack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    return importlib.import_module(f"{PACK}.nodes")
