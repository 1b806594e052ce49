"""Entry point of the command line: finds the command, turns errors into one sentence."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import AnchorError, is_out_of_memory

COMMANDS = (
    *("generate", "render_many", "motions", "look", "check", "anchors", "face_crop", "prepare", "train"),
    *("evaluate", "studies", "bench"),
)
"""Modules with commands, in the order of the help."""
EPILOG = """\
examples:
  python -m anchor_core demo                                   a presenter moves, with nothing but what ships
  python -m anchor_core demo --motion talk.npy --audio talk.wav
  python -m anchor_core generate --anchor me.safetensors --motion talk.npy --audio talk.wav --out me.mp4
  python -m anchor_core render --motion talk.npy --out mesh.mp4
  python -m anchor_core face-crop --video me.mp4 --motion me.pkl --frame 120 --out face.png
  python -m anchor_core evaluate me.mp4 --dataset me_dataset --out evaluation
  python -m anchor_core info me.safetensors
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands; importing the command modules is cheap, running one is not."""
    parser = argparse.ArgumentParser(
        prog="python -m anchor_core",
        description="Anchor: turn one minute of video of a person into a presenter who moves as you say.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"anchor_core {__version__}")
    parser.add_argument(
        "--verbose", action="store_true", help="log what happens, and show tracebacks of errors"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f".{name}", __package__).add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (0 done, 1 a sentence said why not, 130 stopped by Ctrl-C)."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(message)s")
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is no reason to stop
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        args.run(args)
    except (AnchorError, OSError) as error:  # also a full disk, a folder without permission
        if args.verbose:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if args.verbose or not is_out_of_memory(error):
            raise
        advice = "use fewer --frames or smaller pictures"
        if hasattr(args, "dry_run"):  # a film's memory does not depend on the number of frames
            advice = "the same with --dry-run says what fits"
        print(f"error: the memory is too small for this; {advice}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"\nstopped; {stop or 'files that were not finished were removed'}", file=sys.stderr)
        return 130
    return 0
