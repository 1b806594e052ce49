"""Where files lie: the host's folders of models, input, output and temporary files.

The only file that imports `folder_paths`. Works on ComfyUI 0.3.64 and later.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import folder_paths

from ..anchor_core.errors import AnchorError
from ..anchor_core.files import ASSETS

if TYPE_CHECKING:
    from ..anchor_core.body.model import BodyModel

DEMO = "demo"
DEMO_MOTION = "demo motion"
_ASSETS = {DEMO: ASSETS / "demo_anchor.safetensors", DEMO_MOTION: ASSETS / "demo_motion.npz"}
_ANCHORS, _BODIES, _METRICS = "anchors", "smplx", "anchor_metrics"
_OWN_FOLDERS = {
    _ANCHORS: {".safetensors"},
    _BODIES: {".npz"},
    _METRICS: {".pth", ".pt", ".safetensors", ".onnx"},
}
DATASETS, TRAININGS, EVALUATIONS = "anchor_datasets", "anchor_training", "anchor_evaluations"
RENDERS = "anchor_renders"
"""Folders in the host's output folder that nodes write."""
_FORBIDDEN = set('<>:"/\\|?*') | {chr(code) for code in range(32)}
_LONGEST = 100  # characters; more are added to it
VAE_FOLDERS = ("vae", "checkpoints")
VISION_FOLDERS = ("clip_vision",)
TEXT_FOLDERS = ("text_encoders", "checkpoints")
_MOTION_SUFFIXES = {".npz", ".npy", ".pkl", ".pt", ".bvh", ".json"}


def register_model_folders() -> None:
    """Our model folders under the host's, beside those that extra_model_paths.yaml may have named already."""
    for name, suffixes in _OWN_FOLDERS.items():
        folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))
        paths, known = folder_paths.folder_names_and_paths[name]
        folder_paths.folder_names_and_paths[name] = (paths, set(known) | suffixes)


def anchor_names() -> list[str]:
    """The demo, then anchor files, then published folders."""
    folders = _published_folders()
    files = folder_paths.get_filename_list(_ANCHORS)
    inside = {name for name in files for folder in folders if Path(name).is_relative_to(folder)}
    return [DEMO, *(name for name in files if name not in inside), *folders]


def anchor_path(name: str) -> Path:
    """Where the anchor of this name lies."""
    if name == DEMO:
        return _shipped(name)
    found = _published_folders().get(name) or folder_paths.get_full_path(_ANCHORS, name)
    if found is None:
        raise AnchorError(
            f"there is no anchor '{name}' in models/{_ANCHORS}: put it there, or choose another one"
        )
    return Path(found)


def other_anchor(name: str, path: Path) -> Path | None:
    """The anchor file of this name in another folder than that of `path`."""
    known = (Path(file) for file in folder_paths.get_filename_list(_ANCHORS) if Path(file).name == name)
    found = (folder_paths.get_full_path(_ANCHORS, str(file)) for file in known)
    return next((Path(file) for file in found if file and Path(file).parent != path.parent), None)


def _published_folders() -> dict[str, Path]:
    """Folders in models/anchors, or one below, that hold networks in the published layout."""
    found: dict[str, Path] = {}
    for place in map(Path, folder_paths.get_folder_paths(_ANCHORS)):
        for child in sorted((*place.glob("*"), *place.glob("*/*"))):
            name = child.relative_to(place).as_posix()
            # A person's folder holds body/unet; the folder of one stage holds unet itself.
            own = any((child / stage / "unet").is_dir() for stage in ("", "body"))
            if own and child.parent.relative_to(place).as_posix() not in found:
                found.setdefault(name, child)
    return found


def motion_names() -> list[str]:
    """The demo motion, then the motion files in the input folder, and the folders of SMPLer-X."""
    return [DEMO_MOTION, *_motion_files()]


def motion_path(name: str) -> Path:
    """Where the motion of this name lies; only files that the list shows can be opened."""
    if name == DEMO_MOTION:
        return _shipped(name)
    files = _motion_files()
    if name not in files:
        raise AnchorError(
            f"there is no motion '{name}' in the input folder: put it there, or choose another one"
        )
    return files[name]


def _motion_files() -> dict[str, Path]:
    return _input_paths(lambda path: _is_motion_folder(path) or _has_suffix(path, _MOTION_SUFFIXES))


def skeleton_names() -> list[str]:
    """Files in the input folder that may map the joints of a BVH."""
    return list(_input_paths(lambda path: _has_suffix(path, {".json"})))


def skeleton_path(name: str) -> Path:
    """Where the joint mapping of this name lies; only files that the list shows can be opened."""
    files = _input_paths(lambda path: _has_suffix(path, {".json"}))
    if name not in files:
        raise AnchorError(f"there is no file '{name}' in the input folder: put it there, or choose automatic")
    return files[name]


def _input_paths(wanted: Callable[[Path], bool]) -> dict[str, Path]:
    root = Path(folder_paths.get_input_directory())
    found = (path for pattern in ("*", "*/*") for path in root.glob(pattern))
    return {path.relative_to(root).as_posix(): path for path in sorted(found) if wanted(path)}


def _has_suffix(path: Path, suffixes: set[str]) -> bool:
    return path.suffix.lower() in suffixes and path.is_file()


def _is_motion_folder(path: Path) -> bool:
    """Whether this is what SMPLer-X leaves: one file for each frame and person in the folder smplx."""
    return (path / "smplx").is_dir()


def check_folder_name(name: str, what: str = "name") -> str:
    """The name of one folder, without spaces around it. Raises AnchorError for what is a path, or none."""
    name = name.strip()
    wrong = _FORBIDDEN & set(name)
    if name and not wrong and name[0] != "." and name[-1] != "." and len(name) <= _LONGEST:
        return name
    if wrong:
        raise AnchorError(f"{what} is {name!r} and {sorted(wrong)[0]!r} cannot stand in a name: leave it out")
    why = "is empty" if not name else f"is {name[:_LONGEST]!r}"
    raise AnchorError(
        f"{what} {why}: give a name of at most {_LONGEST} characters that begins and ends without a dot"
    )


def refused_name(name: str | None) -> str:
    """Why a name is none, for `validate_inputs`; "" for a good one, and for one that comes over a link."""
    try:
        check_folder_name(name or "", "name") if name is not None else None
    except AnchorError as error:
        return str(error)
    return ""


def output_folder(kind: str, name: str) -> Path:
    """<output>/<kind>/<name>, whether it exists or not; never anywhere else."""
    return Path(folder_paths.get_output_directory()) / kind / check_folder_name(name)


def unfinished_folder() -> Path:
    """Where states of cancelled runs are kept, over restarts of the host too."""
    return Path(folder_paths.get_output_directory()) / RENDERS / "unfinished"


def output_ui(files: list[Path]) -> dict[str, Any]:
    """What a node hands to the front end to show pictures of the output folder."""
    root = Path(folder_paths.get_output_directory())
    places = [(file.name, file.parent.relative_to(root).as_posix()) for file in files if file.is_file()]
    return {"images": [{"filename": n, "subfolder": folder, "type": "output"} for n, folder in places]}


def output_video_ui(file: Path) -> dict[str, Any]:
    """What a node hands to the front end to play a file of the output folder."""
    return {**output_ui([file]), "animated": (True,)}


def new_anchor_path(name: str) -> Path:
    """Where an anchor that is made here is saved."""
    return Path(folder_paths.get_folder_paths(_ANCHORS)[0]) / (check_folder_name(name) + ".safetensors")


def temp_folder(digest: str) -> Path:
    """A folder for what is made of data with this digest: the same data find it again."""
    return Path(folder_paths.get_temp_directory()) / f"anchor_{digest}"


def temp_video(prefix: str) -> tuple[Path, tuple[str, str]]:
    """A new file in the host's temp folder, and its name and subfolder as the front end asks for them."""
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_temp_directory()
    )
    file = f"{name}_{counter:05}_.mp4"
    return Path(folder) / file, (file, subfolder)


def video_ui(saved: tuple[str, str]) -> dict[str, Any]:
    """What a node hands to the front end to play a file of the temp folder."""
    name, subfolder = saved
    return {"images": [{"filename": name, "subfolder": subfolder, "type": "temp"}], "animated": (True,)}


def _shipped(name: str) -> Path:
    path = _ASSETS[name]
    if not path.is_file():
        raise AnchorError(f"{path.name} is missing from the pack: install the pack again")
    return path


def model_names(folders: tuple[str, ...]) -> list[str]:
    """Files in several of the host's model folders, each name once."""
    return list(dict.fromkeys(name for folder in folders for name in folder_paths.get_filename_list(folder)))


def model_path(folders: tuple[str, ...], name: str) -> Path:
    """Where the first file of this name lies."""
    for folder in folders:
        found = folder_paths.get_full_path(folder, name)
        if found is not None:
            return Path(found)
    raise AnchorError(
        f"there is no file '{name}' in models/{folders[0]}: put it there, or choose another one"
    )


def model_folders(folders: tuple[str, ...]) -> list[str]:
    """All places that the host looks at for these kinds of models."""
    return [path for folder in folders for path in folder_paths.get_folder_paths(folder)]


def body_names() -> list[str]:
    """The stand-in, the automatic choice, then the files in models/smplx."""
    from ..anchor_core.body.find import AUTO, STANDIN

    return [STANDIN, AUTO, *folder_paths.get_filename_list(_BODIES)]


def load_body(name: str, gender: str) -> BodyModel:
    """The body of this name."""
    from ..anchor_core.body.find import body_for

    files = {file: model_path((_BODIES,), file) for file in folder_paths.get_filename_list(_BODIES)}
    return body_for(name, files, gender)


def body_place(name: str) -> Path | None:
    """The file or folder of bodies that `name` means, as `PrepareOptions` takes it; None for the stand-in."""
    from ..anchor_core.body.find import AUTO, STANDIN

    if name == STANDIN:
        return None
    if name != AUTO:
        return model_path((_BODIES,), name)
    files = [model_path((_BODIES,), file) for file in folder_paths.get_filename_list(_BODIES)]
    return files[0].parent if files else None


def metric_file(*names: str) -> Path | None:
    """The first of these files that lies in models/anchor_metrics."""
    listed = folder_paths.get_filename_list(_METRICS)
    found = (file for name in names for file in listed if Path(file).name == name)
    return next((model_path((_METRICS,), file) for file in found), None)


def file_stamp(path: Path) -> str:
    """Changes when the file, or a file in the folder, changes."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return ";".join(f"{p}:{p.stat().st_mtime_ns}:{p.stat().st_size}" for p in files)
