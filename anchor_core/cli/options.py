"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AnchorError
from ..files import ASSETS, check_writable
from .edits import add_edit_options, add_read_options, edited, read_options_from

if TYPE_CHECKING:
    import torch

    from ..anchor.file import Anchor
    from ..body.model import BodyModel
    from ..motion.motion import Motion

DEMO_ANCHOR = ASSETS / "demo_anchor.safetensors"
DEMO_MOTION = ASSETS / "demo_motion.npz"
PRECISIONS = ("fp32", "fp16", "bf16")
_INPUTS = (
    *("anchor", "motion", "body", "audio", "appearance", "face_appearance", "picture", "video"),
    *("vae", "clip_vision", "text_encoder", "base"),
)


def add_motion_options(parser: argparse.ArgumentParser, default: Path | None, required: bool = True) -> None:
    """--motion, --start, --frames, --audio, --body, and how the motion is read and edited.

    required: whether --motion has to be given where it has no default.
    """
    what = "motion file of any known kind, told by its content, or a folder of SMPLer-X"
    parser.add_argument(
        "--motion",
        type=Path,
        default=default,
        required=required and default is None,
        metavar="FILE",
        help=what,
    )
    parser.add_argument("--start", type=int, default=0, metavar="N", help="first frame (default 0)")
    parser.add_argument(
        "--frames", type=int, metavar="N", help="number of frames, before edits (default: to the end)"
    )
    _add_sound_options(parser)
    parser.add_argument(
        "--body", type=Path, metavar="PATH", help="your SMPL-X .npz, or a folder of them (default: stand-in)"
    )
    parser.add_argument(
        "--renderer",
        choices=("torch", "pyrender"),
        default="torch",
        help="pyrender needs OpenGL (default torch)",
    )
    add_read_options(parser)
    add_edit_options(parser)


def _add_sound_options(parser: argparse.ArgumentParser) -> None:
    sound = parser.add_mutually_exclusive_group()
    sound.add_argument(
        "--audio",
        type=Path,
        metavar="FILE",
        help="sound of the whole motion, from any sound or video file (default: what the motion file holds)",
    )
    sound.add_argument("--silent", action="store_true", help="leave out the sound that the motion file holds")
    parser.add_argument(
        "--audio-offset",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="let the sound come later, or earlier (below 0), where it is not in time (default 0)",
    )


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """--device, --precision."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="of the networks (default fp16 on a GPU, fp32 on the CPU)"
    )


def motion_from(args: argparse.Namespace) -> Motion:
    """Read the motion with its sound, cut both to --start and --frames, and edit them."""
    from ..motion.read import read_motion

    motion = read_motion(args.motion, read_options_from(args))
    if not 0 <= args.start < len(motion):
        raise AnchorError(
            f"--start {args.start} lies outside the motion's {len(motion)} frames; choose a smaller start"
        )
    if args.frames is not None and args.frames < 1:
        raise AnchorError(f"--frames is {args.frames}; at least one frame is needed")
    stop = len(motion) if args.frames is None else min(args.start + args.frames, len(motion))
    # The sound belongs to the whole motion: frame --start of the motion is not where the file begins.
    return edited(_with_sound(motion, args).sliced(args.start, stop), args)


def _with_sound(motion: Motion, args: argparse.Namespace) -> Motion:
    """The motion with the sound of --audio or else its own, moved by --audio-offset; none with --silent."""
    from ..motion.soundtrack import attach_sound

    sound = None if args.silent else args.audio or motion.sound
    if sound is not None:
        return attach_sound(motion, sound, args.audio_offset)
    if args.audio_offset:
        raise AnchorError(
            f"--audio-offset is {args.audio_offset:g} and there is no sound to move; pass --audio"
        )
    return replace(motion, sound=None)


def body_from(args: argparse.Namespace, gender: str) -> BodyModel:
    """The user's body file, the body of a folder that fits the gender, or the stand-in."""
    from ..body.find import open_body

    return open_body(args.body, gender)


def check_outputs(args: argparse.Namespace, *written: Path) -> None:
    """Raise AnchorError unless these files can be written, and none of them is one that is read."""
    given = [path for name in _INPUTS if (path := getattr(args, name, None)) is not None]
    for path in written:
        check_writable(path)
        if any(os.path.realpath(path) == os.path.realpath(read) for read in given):
            raise AnchorError(f"{path} is read and would be written over; choose another --out")


def device_from(args: argparse.Namespace) -> tuple[torch.device, torch.dtype]:
    """The device and the dtype that the networks run in."""
    import torch

    from ..sampling.ranks import local_device

    name = args.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = local_device(torch.device(name))
        torch.ones(1, device=device).item()  # "meta" has no numbers to give back
    except AnchorError:
        raise
    except Exception as error:  # what a missing backend raises is up to it
        why = str(error).split(". ")[0]
        raise AnchorError(f"--device {args.device} cannot be used here ({why}); try --device cpu") from None
    precision = args.precision or ("fp32" if device.type == "cpu" else "fp16")
    return device, {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def add_base_option(parser: argparse.ArgumentParser) -> None:
    """--base."""
    parser.add_argument(
        "--base",
        type=Path,
        metavar="FILE",
        help="anchor file that a low-rank anchor was trained on (default: looked for beside it)",
    )


def anchor_from(path: Path, base: Path | None = None) -> Anchor:
    """An anchor file, or a folder in the published layout; base: what a low-rank anchor stands on."""
    from ..anchor.file import load_anchor
    from ..anchor.published import load_published

    if not os.path.exists(path):
        hint = " (build it with: python -m anchor_core train-demo)" if path == DEMO_ANCHOR else ""
        raise AnchorError(
            f"there is no anchor at {path}; give a file, or a folder with body/{{unet,controlnet}}{hint}"
        )
    return load_published(path) if path.is_dir() else load_anchor(path, base=base)
