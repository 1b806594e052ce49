"""Options that say how a motion is read and what is changed in it, for every command that takes one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..motion.edits.plan import Edits
    from ..motion.formats.parts import ReadOptions
    from ..motion.motion import Motion

_WORLDS = ("cv", "yup", "zup")
_HANDS = ("relative", "absolute")
_BLEND_S = 0.4


def add_read_options(parser: argparse.ArgumentParser) -> None:
    """What a motion file does not say, or says wrongly."""
    group = parser.add_argument_group("reading the motion")
    group.add_argument(
        "--sample", type=int, metavar="N", help="which motion of a TalkSHOW file that holds several, from 0"
    )
    group.add_argument("--person", metavar="NAME", help="which person of a file with several")
    group.add_argument(
        "--fps", type=float, metavar="N", help="frames per second of the file, where it does not say them"
    )
    group.add_argument("--world", choices=_WORLDS, help="y down, y up or z up (default: as the file says)")
    group.add_argument(
        "--hands",
        choices=_HANDS,
        help="fingers relative to a relaxed hand, or absolute (default: as the file)",
    )
    group.add_argument("--angles", choices=("radians", "degrees"), help="(default: radians)")
    group.add_argument(
        "--skeleton", type=Path, metavar="JSON", help="for a BVH: {its joint: joint of SMPL-X}"
    )
    group.add_argument(
        "--max-gap",
        type=float,
        default=0.5,
        metavar="S",
        help="seconds without a pose that are interpolated (default 0.5)",
    )


def read_options_from(args: argparse.Namespace) -> ReadOptions:
    """The same as the library takes it."""
    from ..motion.formats.parts import ReadOptions

    names = ("sample", "person", "fps", "world", "hands", "angles", "skeleton")
    return ReadOptions(**{name: getattr(args, name) for name in names}, max_gap_s=args.max_gap)


def add_edit_options(parser: argparse.ArgumentParser) -> None:
    """What is changed in the motion once it is read and cut."""
    group = parser.add_argument_group("editing the motion")
    group.add_argument(
        "--join", type=Path, nargs="+", default=[], metavar="FILE", help="motions that follow it"
    )
    group.add_argument(
        "--loop",
        type=int,
        default=1,
        metavar="N",
        help="play it N times, each end blended into the beginning",
    )
    group.add_argument(
        "--blend",
        type=float,
        default=_BLEND_S,
        metavar="S",
        help=f"seconds of the transitions of --join and --loop (default {_BLEND_S})",
    )
    group.add_argument("--resample", type=float, metavar="FPS", help="to this many frames per second")
    group.add_argument(
        "--smooth", choices=("none", "savgol", "one_euro"), default="none", help="(default none)"
    )
    group.add_argument(
        "--smooth-window", type=int, metavar="N", help="frames that savgol looks at (default 9)"
    )
    group.add_argument("--mirror", action="store_true", help="left becomes right")
    group.add_argument("--freeze-root", action="store_true", help="the body stays as in the first frame")
    group.add_argument("--curl", type=float, metavar="X", help="hands: 1 fists, -1 flat (default 0)")
    group.add_argument(
        "--gestures", type=float, metavar="X", help="strength of the arms' movement (default 1)"
    )
    group.add_argument("--hands-gain", type=float, metavar="X", help="the same of the fingers (default 1)")
    group.add_argument("--mouth", type=float, metavar="X", help="the same of the mouth (default 1)")
    group.add_argument(
        "--lower-body",
        choices=("sit", "stand", "source"),
        help="pose of the legs (default: as it is; on an anchor's person as in its training)",
    )


def edits_from(args: argparse.Namespace) -> Edits:
    """The edits that the options ask for."""
    from ..motion.edits.plan import Edits

    given = {
        "fps": args.resample,
        "window": args.smooth_window,
        "curl": args.curl,
        "gestures": args.gestures,
        "hands_gain": args.hands_gain,
        "mouth": args.mouth,
        "lower_body": args.lower_body,
    }
    return Edits(
        smoothing=args.smooth,
        mirror=args.mirror,
        root="freeze" if args.freeze_root else "source",
        **{name: value for name, value in given.items() if value is not None},
    )


def edited(motion: Motion, args: argparse.Namespace) -> Motion:
    """The motion, joined, changed and repeated as the options say."""
    from ..motion.edits.plan import apply_edits
    from ..motion.edits.time import join, loop
    from ..motion.read import read_motion

    if args.join:
        options = read_options_from(args)
        motion = join([motion, *(read_motion(path, options) for path in args.join)], args.blend)
    motion = apply_edits(motion, edits_from(args))
    return motion if args.loop == 1 else loop(motion, args.loop, args.blend)
