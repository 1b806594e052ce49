"""Retargeting on the command line: its options, and the warning of what the anchor has never seen."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..anchor.card import AnchorCard
    from ..body.model import BodyModel
    from ..motion.motion import Motion

log = logging.getLogger("anchor")

_ROOTS = ("target", "relative", "source")  # those of motion.place: importing it would make --help slow


def add_retarget_options(parser: argparse.ArgumentParser) -> None:
    """--no-retarget, --root."""
    group = parser.add_argument_group(
        "retargeting", "the motion gets the anchor's body shape, camera and place; gestures stay the source's"
    )
    group.add_argument(
        "--no-retarget",
        dest="retarget",
        action="store_false",
        help="leave shape, camera and place as they are in the file",
    )
    group.add_argument(
        "--root",
        choices=_ROOTS,
        default="target",
        help="target: the body stays where it was in training; relative: with the source's turns and steps, "
        "frame 0 faces the camera; source: the source's own turn (default target)",
    )


def retargeted(args: argparse.Namespace, motion: Motion, card: AnchorCard) -> Motion:
    """The motion on the person of the card, as the options say; legs without a choice as trained."""
    from ..motion.retarget import retarget

    return retarget(
        motion, card, root=args.root, lower_body=args.lower_body or "target", enabled=args.retarget
    )


def warn_of_ranges(motion: Motion, card: AnchorCard, body: BodyModel) -> None:
    """Log which frames leave what the anchor was trained on by much; nothing where the card does not know."""
    from ..motion.range_report import compare_ranges

    warning = card.ranges and compare_ranges(motion, card.ranges, body).warning()
    if warning:
        log.warning("%s Look closer with: python -m anchor_core check-motion", warning)
