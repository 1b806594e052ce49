"""`check-motion`: how far a motion leaves what an anchor was trained on, in words and as a picture."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AnchorError
from .options import DEMO_ANCHOR, add_motion_options, anchor_from, body_from, check_outputs, motion_from
from .retargeting import add_retarget_options, retargeted

if TYPE_CHECKING:
    from ..anchor.card import AnchorCard


def add_commands(commands: Any) -> None:
    """Register `check-motion`."""
    check = commands.add_parser(
        "check-motion", help="say which frames of a motion leave what an anchor was trained on"
    )
    check.add_argument(
        "--anchor", type=Path, default=DEMO_ANCHOR, metavar="FILE", help="(default: what ships)"
    )
    add_motion_options(check, None)
    add_retarget_options(check)
    check.add_argument(
        "--out", type=Path, metavar="PNG", help="draw the report too: parts of the body over time"
    )
    check.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print the report and draw it."""
    from ..motion.range_report import compare_ranges

    if args.out is not None:
        _check_out(args)
    card = card_from(args.anchor)
    motion = motion_from(args)
    body = body_from(args, motion.gender)
    report = compare_ranges(retargeted(args, motion, card), card.ranges, body)
    print("\n".join(report.sentences()))
    if args.out is not None:
        _draw(report, args.out)
        print(args.out)


def card_from(path: Path) -> AnchorCard:
    """The card of an anchor; of a file, only its header is read."""
    from ..anchor.file import read_card

    return read_card(path) if os.path.isfile(path) else anchor_from(path).card


def _check_out(args: argparse.Namespace) -> None:
    if args.out.suffix.lower() != ".png":
        raise AnchorError(f"--out {args.out.name} is no .png; reports are drawn as .png, change the name")
    check_outputs(args, args.out)


def _draw(report: Any, out: Path) -> None:
    from PIL import Image

    from ..files import atomic_path
    from ..motion.range_picture import draw_report

    with atomic_path(out) as partial:
        Image.fromarray(draw_report(report)).save(partial)
