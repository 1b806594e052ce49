"""SMPLer-X's results (arXiv 2309.17448): angles in radians, metres, the frames of the video that it was
given.

A folder with smplx/FFFFF_P.npz and meta/FFFFF_P.json for frame F and person P, and the rendered pictures in
img/; or one .npz of these. Hands are relative to the hand mean, the eyes are not measured. Each file has a
camera of its own, the crop of the picture around the person; they are made one camera that stands still: see
`still.in_still_camera`. P is a number within the frame, not a track: people are followed by where they are.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import AnchorError
from ..archive import read_archive
from ..camera import Camera
from ..motion import Validity
from .frames import spread, stack, typical
from .parts import Parts, ReadOptions, assemble, choose_person, first_number
from .people import follow
from .still import in_still_camera

logger = logging.getLogger("anchor")

_PARTS = {
    "root": ("global_orient", 3),
    "body": ("body_pose", 63),
    "jaw": ("jaw_pose", 3),
    "left_hand": ("left_hand_pose", 45),
    "right_hand": ("right_hand_pose", 45),
}
_EYES = {"left_eye": ("leye_pose", 3), "right_eye": ("reye_pose", 3)}
_OPTIONAL = {"transl": 3, "betas": None, "expression": None, **dict(_EYES.values())}
_KEYS = (*(key for key, _ in _PARTS.values()), *_OPTIONAL)
_IN_FOLDERS = tuple(key for key in _KEYS if key not in dict(_EYES.values()))  # the eyes are always zero there
_NAME = re.compile(r"(?P<frame>[0-9]{1,9})(?:_(?P<person>[0-9]{1,6}))?\.npz$")
_FOCAL_PX = 5000.0  # of the network's own camera, and of SHOW's
_MAX_META_BYTES = 2**20
_PICTURES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Results:
    """The files of a folder by (frame, number of the person in it), and where their cameras and pictures
    are."""

    files: Mapping[tuple[int, int], Path]
    meta: Path
    pictures: Path


def find_results(folder: Path) -> Results | None:
    """The results in a folder, or in its folder smplx; None where there is none."""
    inside = folder / "smplx"
    smplx = inside if inside.is_dir() else folder
    found = [(_NAME.search(path.name), path) for path in sorted(smplx.iterdir()) if path.is_file()]
    files = {(int(name["frame"]), int(name["person"] or 0)): path for name, path in found if name}
    outer = smplx.parent if smplx.name == "smplx" else smplx
    return Results(files, outer / "meta", outer / "img") if files else None


def matches(content: Any) -> bool:
    """Whether the content is a folder of results, or an archive of one of them."""
    if isinstance(content, Results):
        return True
    return isinstance(content, Mapping) and "body_pose" in content and "global_orient" in content


def read(content: Any, options: ReadOptions) -> Parts:
    """content: `Results`, or the arrays of one .npz; `options.person` chooses one of several people, as the
    files number them in the first frame that shows them."""
    if not isinstance(content, Results):
        choose_person(("0",), options.person)
        arrays = {key: content[key] for key in _KEYS if key in content}
        fps = first_number(content["fps"], "fps") if "fps" in content else None
        return _parts(stack([arrays], _widths([arrays])), None, fps)
    frames = {key: _read_result(path) for key, path in sorted(content.files.items())}
    cameras = _cameras(content)
    chosen = _choose(frames, cameras, options.person)
    columns = stack([frames[key] for key in chosen], _widths([frames[key] for key in chosen]))
    if cameras:
        columns |= {name: np.stack([cameras[key][name] for key in chosen]) for name in ("focal", "princpt")}
    numbers = np.array([frame for frame, _ in chosen])
    return _parts(spread(columns, numbers), content.pictures, None)


def _read_result(path: Path) -> dict[str, np.ndarray]:
    arrays = read_archive(path, _IN_FOLDERS)
    missing = [key for key, _ in _PARTS.values() if key not in arrays]
    if missing:
        raise AnchorError(
            f"{path.name} is not a result of SMPLer-X, it lacks {', '.join(missing)}: give the folder that "
            "SMPLer-X wrote, or a single motion file."
        )
    return arrays


def _widths(frames: list[dict[str, np.ndarray]]) -> dict[str, int | None]:
    """What is read of every frame: all that must be there, and what is there in every frame."""
    optional = {key: width for key, width in _OPTIONAL.items() if all(key in frame for frame in frames)}
    return {**dict(_PARTS.values()), **optional}


def _parts(columns: dict[str, np.ndarray], pictures: Path | None, fps: float | None) -> Parts:
    n_frames = len(columns["global_orient"])
    eyes = {
        part: key for part, (key, _) in _EYES.items() if np.nan_to_num(columns.get(key, np.zeros(1))).any()
    }
    keys = {part: key for part, (key, _) in _PARTS.items()} | eyes
    translation, camera = _place(columns, pictures, n_frames)
    return Parts(
        source="SMPLer-X",
        pose=assemble(n_frames, {part: columns[key] for part, key in keys.items()}),
        translation=translation,
        expression=columns.get("expression", np.zeros((n_frames, 0), np.float32)),
        betas=typical(columns["betas"]) if "betas" in columns else None,
        fps=fps,
        world="cv",
        hands="relative",
        camera=camera,
        valid=Validity(eyes=bool(eyes), expression="expression" in columns, translation="focal" in columns),
    )


def _place(
    columns: dict[str, np.ndarray], pictures: Path | None, n_frames: int
) -> tuple[np.ndarray, Camera | None]:
    """Translation and camera of all frames; without the size of the picture there is no camera."""
    translation = columns.get("transl", np.zeros((n_frames, 3), np.float32))
    if "focal" not in columns or "transl" not in columns:
        return translation, None
    size = _picture_size(pictures)
    center = np.nanmedian(columns["princpt"], axis=0) if size is None else np.array(size) / 2
    translation = in_still_camera(translation, (columns["focal"], columns["princpt"]), _FOCAL_PX, center)
    if size is None:
        return translation, None
    camera = Camera((_FOCAL_PX, _FOCAL_PX), (float(center[0]), float(center[1])), size, (0.0, 0.0, 0.0))
    return translation, camera


def _choose(
    frames: Mapping[tuple[int, int], Mapping[str, np.ndarray]],
    cameras: Mapping[tuple[int, int], Mapping[str, np.ndarray]],
    asked: str | None,
) -> list[tuple[int, int]]:
    """The (frame, number) of the one person to read, by frame."""
    by_frame: dict[int, dict[int, np.ndarray]] = {}
    for frame, number in frames:
        place = _sideways(frames[frame, number], cameras.get((frame, number)))
        by_frame.setdefault(frame, {})[number] = place
    people = [dict(sorted(person.items())) for person in follow(list(by_frame.values()))]
    names = sorted({person for found in people for person in found})
    person = names[choose_person([str(name) for name in names], asked)]
    return [(frame, found[person]) for frame, found in zip(by_frame, people, strict=True) if person in found]


def _sideways(values: Mapping[str, np.ndarray], camera: Mapping[str, np.ndarray] | None) -> np.ndarray:
    """Metres right and down of the person, measured in the picture; 0 where that is not known."""
    if camera is None or "transl" not in values or values["transl"].size != 3:
        return np.zeros(2)
    lenses = (camera["focal"][None], camera["princpt"][None])
    return in_still_camera(values["transl"].reshape(1, 3), lenses, _FOCAL_PX, np.zeros(2))[0, :2]


def _cameras(content: Results) -> dict[tuple[int, int], dict[str, np.ndarray]]:
    """Focal length (2,) and principal point (2,) of each file, px; empty where one is missing."""
    paths = {key: content.meta / f"{path.stem}.json" for key, path in content.files.items()}
    missing = [path.name for path in paths.values() if not path.is_file()]
    if missing:
        logger.warning(
            f"The cameras of {len(missing)} frames are not there ({missing[0]} in the folder meta): where "
            "the person is in the picture is not known."
        )
        return {}
    return {key: _camera(path) for key, path in paths.items()}


def _camera(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as handle:
            values = json.loads(handle.read(_MAX_META_BYTES))
        camera = {
            key: np.array([float(values[key][0]), float(values[key][1])]) for key in ("focal", "princpt")
        }
    except (OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise AnchorError(f"{path.name} does not hold a camera with focal and princpt ({error}).") from error
    if not np.isfinite([*camera.values()]).all() or camera["focal"].min() <= 0:
        raise AnchorError(
            f"{path.name} holds the camera {values['focal']}, {values['princpt']}: it needs pixels."
        )
    return camera


def _picture_size(folder: Path | None) -> tuple[int, int] | None:
    """Width and height of the rendered pictures, which are as large as the video; None where there is
    none."""
    from PIL import Image

    if folder is None or not folder.is_dir():
        return None
    first = next((path for path in sorted(folder.iterdir()) if path.suffix.lower() in _PICTURES), None)
    try:
        with Image.open(first or "") as picture:
            return picture.size
    except Exception:  # Pillow's readers fail with anything; the size is only a help
        return None
