"""From a motion to a video file: the chain of all steps, with the memory of a few frames.

reference picture -> appearance tokens, motion -> body -> mesh render,
both -> overlapped temporal denoising -> decode -> faces painted anew -> video
(Make-Your-Anchor, Huang et al., CVPR 2024, sections 3.1 to 3.4). Each step is one public call of its own
module; `stages` hands their results on through the files of the render's folder.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..anchor.use import Stage, face_card, noise_schedule
from ..errors import AnchorError
from ..face.stream import KEPT_BYTES
from ..files import check_writable
from ..progress import StepFactory
from ..sampling.ranks import Ranks
from ..sampling.schedulers import start_scheduler
from ..sampling.settings import SamplerSettings
from ..video.write import check_video_name
from .crew import Crew
from .fingerprint import fingerprint
from .finish import deliver, draw_sheet, encode
from .folder import SUFFIX, RenderFolder, check_apart, check_room, opened_folder, remove_folder
from .scene import Film, Scene, hidden_faces
from .stages import Clip, Clock, Stages

_LATENTS = 3 * 4 * 4 / 64
"""Bytes per pixel of latents, of their sum and of what a solver remembers, of four channels in float32."""


def film_to_file(
    scene: Scene,
    crew: Crew,
    settings: SamplerSettings,
    out: Path,
    *,
    step: StepFactory,
    folder: Path | None = None,
    start_over: bool = False,
    keep_folder: bool = False,
    ranks: Ranks | None = None,
    facts: dict[str, Any] | None = None,
) -> Film | None:
    """Render a scene into a video with a contact sheet beside it; settings: of the body pass.

    step: a bar for each stage, may be called in other threads. folder: where the render is kept until it is
    finished, by default `out` with the suffix .render; a render that is there is gone on with, if all it was
    begun with is the same. start_over: begin again. keep_folder: do not remove it at the end. ranks: the
    processes that share the denoising, each of which calls this; None comes back in all but the main one.
    facts: JSON values about what made the video; they travel with all settings as its comment.

    What step and its bars raise passes through, and the same call goes on later, as it does after errors of
    any kind and after a kill. Raises AnchorError, where a part is missing before any work is done.
    """
    check_video_name(out)
    sheet, folder = out.with_suffix(".png"), folder or out.with_suffix(SUFFIX)
    check_apart(folder, out, sheet)
    check_writable(out)
    check_writable(sheet)
    crew.check(scene.face is not None)
    passes: dict[Stage, SamplerSettings] = {"body": settings}
    if scene.face is not None:
        passes["face"] = scene.face.settings
    for one in passes.values():
        start_scheduler(one.scheduler, noise_schedule(crew.card), one.steps)  # refuses what there is not
    tokens = {stage: crew.tokens(stage, one) for stage, one in passes.items()}
    begin, clock = _begin(scene, crew, settings, facts or {}), Clock(step)
    with _full_disk_explained(folder), _opened(folder, begin, start_over, ranks) as opened:
        check_room(opened, _most_bytes(scene, crew))
        clip = Stages(opened, scene, crew, passes, tokens, clock, ranks).run()
        film = None
        if ranks is None or ranks.main:
            _finish(opened, clip, scene, _comment(begin, clip), (out, sheet))
            kept = folder if keep_folder else None
            film = _film(scene, clip, (out, sheet), clock.seconds, kept)
            if not keep_folder:
                remove_folder(opened)
        if ranks is not None:
            ranks.barrier("writing the video")
    return film


def film_digest(
    scene: Scene, crew: Crew, settings: SamplerSettings, facts: dict[str, Any] | None = None
) -> str:
    """16 hexadecimal digits that change with all that `film_to_file` would make a video from."""
    return fingerprint(_begin(scene, crew, settings, facts or {}))


def _finish(
    folder: RenderFolder, clip: Clip, scene: Scene, comment: dict[str, Any], files: tuple[Path, Path]
) -> None:
    """Write video and contact sheet, then give both their names: where the video is, all is done."""
    video, sheet = folder.path / "video.mp4", folder.path / "sheet.png"
    encode(video, clip, scene.motion, comment)
    draw_sheet(sheet, clip)
    deliver(sheet, files[1])
    deliver(video, files[0])


def _film(
    scene: Scene, clip: Clip, files: tuple[Path, Path], seconds: dict[str, float], kept: Path | None
) -> Film:
    """What the caller is told."""
    painted = None if clip.track is None else clip.painted
    hidden, motion = hidden_faces(clip.track), scene.motion
    return Film(*files, motion.n_frames, motion.fps, painted, hidden, seconds, kept)


def _begin(
    scene: Scene, crew: Crew, settings: SamplerSettings, facts: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """What a render must have in common with the one that it goes on with, by name."""
    own, face = crew.identity(scene.face is not None), scene.face
    motion = replace(scene.motion, sound=None, source="")
    contents = {"motion": motion, "sound": scene.motion.sound, "body": scene.body}
    return {
        "made_with": {"package": __version__, "torch": torch.__version__, **own.get("made_with", {})},
        "contents": {
            **own.get("contents", {}),
            **{name: fingerprint(content) for name, content in contents.items()},
        },
        "settings": {
            **facts,
            **own.get("settings", {}),
            "renderer": scene.backend,
            "settings": asdict(settings),
            "face": face and face.facts(),
        },
    }


def _comment(begin: dict[str, dict[str, Any]], clip: Clip) -> dict[str, Any]:
    """What travels in the video: all settings, and how many faces were painted."""
    settings = begin["settings"]
    face = settings["face"] and {**settings["face"], "painted": clip.painted}
    return {**settings, "face": face}


def _most_bytes(scene: Scene, crew: Crew) -> int:
    """What the folder of a render takes when all stages but the last are done."""
    width, height = crew.card.resolution
    n_frames, frame = scene.motion.n_frames, width * height * 3
    total = n_frames * (2 * frame + _LATENTS * width * height)  # mesh and body
    if scene.face is not None:
        crop = face_card(crew.card).crop_size ** 2
        total += n_frames * (
            frame + 4 * crop + 2 * _LATENTS * crop
        )  # result; mesh and mask; what is inpainted
        total += min(n_frames * crop * 3 * 4, KEPT_BYTES)
    return int(total)


@contextmanager
def _opened(
    folder: Path, begin: dict[str, dict[str, Any]], start_over: bool, ranks: Ranks | None
) -> Iterator[RenderFolder]:
    """The folder, for the main process alone to write to."""
    if ranks is not None and not ranks.main:
        ranks.check_shared(folder)
        yield RenderFolder(folder)
        return
    with opened_folder(folder, begin, start_over) as opened:
        if ranks is not None:
            ranks.check_shared(folder)
        yield opened


@contextmanager
def _full_disk_explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (AnchorError, OSError) as error:
        if _is_full(error):
            raise AnchorError(
                f"the disk is full (the render is kept in {folder}): free space, then run the same again; it"
                " goes on where it stopped"
            ) from error
        raise


def _is_full(error: BaseException | None) -> bool:
    """Whether an error comes from a full disk, however it was wrapped."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
            return True
        error = error.__cause__
    return False
