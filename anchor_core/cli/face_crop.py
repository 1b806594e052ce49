"""`face-crop`: the aligned face of a picture or a video's frame, as the reference of the face network."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AnchorError
from .options import anchor_from, body_from, check_outputs

if TYPE_CHECKING:
    import numpy as np
    import torch

_ORDER = "left eye, right eye, tip of the nose, left and right corner of the mouth, as you see them"
_MISFIT = 50.0
"""Pixels of 512, root mean square: a face turned by 60 degrees has 33, swapped points have 63 and more."""
_LEAST_INSIDE = 0.5  # of the face


def add_commands(commands: Any) -> None:
    """Register `face-crop`."""
    crop = commands.add_parser("face-crop", help="cut the aligned face out of a picture or a video's frame")
    crop.add_argument("picture", type=Path, nargs="?", metavar="PICTURE", help="picture with the face")
    crop.add_argument("--video", type=Path, metavar="FILE", help="take --frame of this video instead")
    crop.add_argument(
        "--frame", type=int, default=0, metavar="N", help="of the video and of the motion, from 0 (default 0)"
    )
    crop.add_argument("--points", metavar='"X,Y ..."', help=f"five points in pixels: {_ORDER}")
    crop.add_argument("--motion", type=Path, metavar="FILE", help="find the face by this motion instead")
    crop.add_argument("--sample", type=int, metavar="N", help="which motion of a file that holds several")
    crop.add_argument("--body", type=Path, metavar="PATH", help="your SMPL-X .npz (default: stand-in)")
    crop.add_argument(
        "--anchor",
        type=Path,
        metavar="FILE",
        help="seat the motion as for a video of this anchor (default: the motion's own camera)",
    )
    crop.add_argument("--size", type=int, default=256, metavar="S", help="side in pixels (default 256)")
    crop.add_argument("--out", type=Path, default=Path("face.png"), metavar="PNG", help="(default face.png)")
    crop.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Cut out the face and write it."""
    import torch
    from PIL import Image

    from ..face.align import crop_matrices, crop_sides
    from ..face.track import check_crop_size
    from ..face.warp import warp_to_crops
    from ..files import atomic_path
    from ..render.mesh import to_bytes

    _check_options(args)
    check_crop_size(args.size)
    check_outputs(args, args.out)
    picture = _picture(args)
    height, width = picture.shape[:2]
    matrix = (
        _from_points(args.points, (width, height)) if args.points else _from_motion(args, (width, height))
    )
    crop = warp_to_crops(torch.from_numpy(picture)[None], crop_matrices(matrix, args.size), args.size)[0]
    with atomic_path(args.out) as partial:
        Image.fromarray(to_bytes(crop)).save(partial)
    side = round(float(crop_sides(matrix)[0]))
    print(f"{args.out}: {args.size} x {args.size} pixels, from a square of {side}")


def _check_options(args: argparse.Namespace) -> None:
    if (args.picture is None) == (args.video is None):
        raise AnchorError("one picture is needed: give PICTURE, or --video and --frame")
    if (args.points is None) == (args.motion is None):
        raise AnchorError(f"the place of the face is needed: give --points ({_ORDER}), or --motion")
    if args.frame < 0:
        raise AnchorError(f"--frame is {args.frame}; frames count from 0")
    if args.out.suffix.lower() != ".png":
        raise AnchorError(f"--out {args.out.name} is no .png; crops are written as .png, change the name")


def _picture(args: argparse.Namespace) -> np.ndarray:
    """(H, W, 3) uint8."""
    from ..video.read import read_frames, read_picture

    if args.video is None:
        return read_picture(args.picture)
    frame = next(read_frames(args.video, args.frame, args.frame + 1), None)
    if frame is None:
        raise AnchorError(f"{args.video} has no frame {args.frame}; choose a smaller --frame")
    return frame


def _from_points(text: str, size: tuple[int, int]) -> torch.Tensor:
    """The matrix (1, 2, 3) to the crop of 512."""
    import torch

    from ..face.align import FFHQ, similarity, transform
    from ..face.visibility import inside_frame

    try:
        numbers = [float(word) for word in re.split(r"[\s,;]+", text.strip())]
    except ValueError:
        numbers = []
    if len(numbers) != 10:
        raise AnchorError(f'--points "{text[:80]}" is not five points "x,y x,y x,y x,y x,y"; give {_ORDER}')
    points = torch.tensor(numbers, dtype=torch.float64).view(1, 5, 2)
    matrix = similarity(points)
    misfit = float((transform(points, matrix) - FFHQ).square().sum(-1).mean().sqrt())
    if misfit > _MISFIT:
        raise AnchorError(
            f"the five --points do not lie as those of a face; give them in this order: {_ORDER}"
        )
    if float(inside_frame(matrix, size)) < _LEAST_INSIDE:
        raise AnchorError(
            f"the face of --points lies outside the picture of {size[0]} x {size[1]} pixels; give its own"
        )
    return matrix


def _from_motion(args: argparse.Namespace, size: tuple[int, int]) -> torch.Tensor:
    """The matrix (1, 2, 3) to the crop of 512, by the mesh of the frame."""
    from ..face.track import TrackOptions, track_motion
    from ..motion.formats.parts import ReadOptions
    from ..motion.read import read_motion
    from ..motion.retarget import retarget

    motion = read_motion(args.motion, ReadOptions(sample=args.sample))
    if args.frame >= len(motion):
        raise AnchorError(
            f"--frame {args.frame} lies outside the motion's {len(motion)} frames; choose a smaller one"
        )
    motion = motion.sliced(args.frame, args.frame + 1)
    if args.anchor is not None:
        motion = retarget(motion, anchor_from(args.anchor).card)
    if motion.camera is None:
        raise AnchorError(
            f"{args.motion} has no camera, so nothing tells where its face is in the picture; give the"
            " --anchor that the picture shows, or --points"
        )
    options = TrackOptions(smoothing=0)
    body = body_from(args, motion.gender)
    track = track_motion(motion, body, size=size, crop_size=args.size, options=options)
    if track.hidden[0]:
        raise AnchorError(
            f"the face of frame {args.frame} cannot be used ({track.hidden[0]}); choose another"
        )
    return track.matrices
