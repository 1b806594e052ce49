"""`render` and `plan`: a motion as mesh frames, the windows as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import AnchorError
from .options import add_motion_options, body_from, check_outputs, motion_from
from .progress import step_bar


def add_commands(commands: Any) -> None:
    """Register `render` and `plan`."""
    render = commands.add_parser("render", help="render the mesh of a motion to a video")
    add_motion_options(render, None)
    render.add_argument(
        "--size", type=int, nargs=2, metavar=("W", "H"), help="pixels (default: the motion's camera)"
    )
    render.add_argument(
        "--out", type=Path, default=Path("mesh.mp4"), metavar="MP4", help="(default mesh.mp4)"
    )
    render.set_defaults(run=run_render)
    convert = commands.add_parser("save-motion", help="read any motion and save it as our .npz")
    add_motion_options(convert, None)
    convert.add_argument("--out", type=Path, required=True, metavar="NPZ", help="file to write")
    convert.set_defaults(run=run_save)
    plan = commands.add_parser("plan", help="draw which windows of a clip are denoised together")
    plan.add_argument("--frames", type=int, required=True, metavar="N", help="frames of the clip")
    plan.add_argument("--window-size", type=int, default=16, help="(default 16)")
    plan.add_argument("--overlap", type=int, default=4, help="(default 4)")
    plan.add_argument(
        "--schedule", default="static", help="static, reference, uniform or looped (default static)"
    )
    plan.add_argument("--weighting", default="flat", help="flat, pyramid or overlap-linear (default flat)")
    plan.add_argument(
        "--out", type=Path, default=Path("windows.png"), metavar="PNG", help="(default windows.png)"
    )
    plan.set_defaults(run=run_plan)


def run_render(args: argparse.Namespace) -> None:
    """Render the mesh and write it as a video while it is drawn."""
    from ..render.mesh import to_bytes
    from ..render.motion import fit_camera, render_chunks
    from ..video.read import describe_video
    from ..video.write import check_video_name, write_video

    check_video_name(args.out)
    check_outputs(args, args.out)
    motion = motion_from(args)
    camera = fit_camera(motion.camera, tuple(args.size) if args.size else None)
    body, sound = body_from(args, motion.gender), None if motion.sound is None else motion.sound.pair
    with step_bar("rendering the mesh") as bar:
        parts = render_chunks(motion, body, camera, backend=args.renderer, progress=bar)
        frames = (frame for part in parts for frame in to_bytes(part.image))
        write_video(args.out, frames, motion.fps, audio=sound)
    print(f"{args.out}: {describe_video(args.out)}")


def run_save(args: argparse.Namespace) -> None:
    """Save the motion in our own format."""
    from ..motion.file import save_motion

    motion = motion_from(args)
    save_motion(motion, args.out)
    sound = "no sound" if motion.sound is None else f"{motion.sound.duration_s:.2f} s of sound"
    print(f"{args.out}: {len(motion)} frames at {motion.fps:g} fps, {sound}, read as {motion.source}")


def run_plan(args: argparse.Namespace) -> None:
    """Draw the window plan."""
    from PIL import Image

    from ..files import atomic_path
    from ..sampling.picture import plan_picture

    if args.out.suffix.lower() not in Image.registered_extensions():
        raise AnchorError(f"--out {args.out.name} has no suffix of a picture; give a name that ends in .png")
    picture = plan_picture(args.frames, args.window_size, args.overlap, args.schedule, args.weighting)
    with atomic_path(args.out) as partial:
        Image.fromarray(picture).save(partial)
    print(args.out)
