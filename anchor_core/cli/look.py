"""`preview` and `timeline`: look at a motion before any network runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AnchorError
from .options import add_motion_options, body_from, check_outputs, motion_from
from .progress import step_bar
from .retargeting import add_retarget_options, retargeted

if TYPE_CHECKING:
    from ..motion.motion import Motion

_SIZE, _SIZE_OVER_VIDEO = 256, 640


def add_commands(commands: Any) -> None:
    """Register `preview` and `timeline`."""
    preview = commands.add_parser("preview", help="play a motion as a small mesh, alone or over its video")
    add_motion_options(preview, None)
    whose = preview.add_mutually_exclusive_group()
    whose.add_argument("--anchor", type=Path, metavar="FILE", help="show it as this anchor performs it")
    whose.add_argument(
        "--video",
        type=Path,
        metavar="FILE",
        help="lay the mesh over the video that the motion was taken from",
    )
    add_retarget_options(preview)
    _add_look_options(preview)
    preview.set_defaults(run=run_preview)
    timeline = commands.add_parser(
        "timeline", help="draw how much hands, head and mouth move over time, with the sound"
    )
    add_motion_options(timeline, None)
    timeline.add_argument("--width", type=int, default=900, metavar="PX", help="of the picture (default 900)")
    timeline.add_argument(
        "--out", type=Path, default=Path("timeline.png"), metavar="PNG", help="(default timeline.png)"
    )
    timeline.set_defaults(run=run_timeline)


def _add_look_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--video-start",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="second of the video in which the motion file begins (default 0)",
    )
    parser.add_argument(
        "--opacity", type=float, metavar="X", help="of the mesh over the video, 0 to 1 (default 0.7)"
    )
    parser.add_argument(
        "--size",
        type=int,
        metavar="PX",
        help=f"longer side (default {_SIZE}; {_SIZE_OVER_VIDEO} over a video)",
    )
    parser.add_argument(
        "--stride",
        type=int,
        metavar="N",
        help="draw every n-th frame (default: all of a short motion, fewer of a long one)",
    )
    parser.add_argument("--no-captions", action="store_true", help="no frame numbers in the picture")
    parser.add_argument(
        "--out", type=Path, default=Path("preview.mp4"), metavar="MP4", help="(default preview.mp4)"
    )


def run_preview(args: argparse.Namespace) -> None:
    """Write the preview, with the sound of the motion or else of its video."""
    from ..render.preview import OPACITY, open_footage, write_preview
    from ..video.read import describe_video
    from ..video.write import check_video_name

    check_video_name(args.out)
    check_outputs(args, args.out)
    if args.size is None:
        args.size = _SIZE if args.video is None else _SIZE_OVER_VIDEO
    motion = _shown(args, motion_from(args))
    footage = None
    if args.video is not None:
        start_s = args.video_start + _start_s(args, motion)
        footage = open_footage(args.video, start_s, OPACITY if args.opacity is None else args.opacity)
        motion = motion if args.silent else _with_sound_of(args.video, motion, start_s)
    with step_bar("drawing the mesh") as bar:
        write_preview(
            args.out,
            motion,
            body_from(args, motion.gender),
            stride=args.stride,
            size=args.size,
            background=footage,
            captions=not args.no_captions,
            progress=bar,
        )
    print(f"{args.out}: {describe_video(args.out)}")


def _shown(args: argparse.Namespace, motion: Motion) -> Motion:
    """The motion as the anchor performs it, where one is named."""
    from .check import card_from

    return motion if args.anchor is None else retargeted(args, motion, card_from(args.anchor))


def _start_s(args: argparse.Namespace, motion: Motion) -> float:
    """Seconds that --start leaves out of the motion file."""
    from ..motion.read import read_motion
    from .edits import read_options_from

    if args.resample is not None:  # --start counts the frames of the file
        motion = read_motion(args.motion, read_options_from(args))
    return args.start / motion.fps


def _with_sound_of(video: Path, motion: Motion, start_s: float) -> Motion:
    """The motion with the sound of its video, unless it has its own or the video has none."""
    from ..motion.soundtrack import attach_sound
    from ..video.read import read_info

    if motion.sound is not None or not read_info(video).has_sound:
        return motion
    return attach_sound(motion, video, -start_s)


def run_timeline(args: argparse.Namespace) -> None:
    """Draw the timeline."""
    from PIL import Image

    from ..files import atomic_path
    from ..motion.timeline import draw_timeline

    if args.out.suffix.lower() != ".png":
        raise AnchorError(f"--out {args.out.name} is no .png; timelines are drawn as .png, change the name")
    check_outputs(args, args.out)
    picture = draw_timeline(motion_from(args), args.width)
    with atomic_path(args.out) as partial:
        Image.fromarray(picture).save(partial)
    print(args.out)
