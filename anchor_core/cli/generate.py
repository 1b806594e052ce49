"""`demo` and `generate`: from a motion to a video, one implementation with two sets of defaults."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AnchorError
from .faces import face_pass_from, read_face
from .film_options import add_film_options, anchor_with_parts, engine_from, facts_from, settings_from
from .options import DEMO_ANCHOR, DEMO_MOTION, body_from, check_outputs, device_from, motion_from
from .progress import step_bar
from .retargeting import retargeted, warn_of_ranges

if TYPE_CHECKING:
    import numpy as np

    from ..anchor.file import Anchor
    from ..filming.crew import AnchorCrew
    from ..filming.scene import Film, Scene
    from ..progress import StepFactory
    from ..sampling.ranks import Ranks


def add_commands(commands: Any) -> None:
    """Register `demo` and `generate`."""
    demo = commands.add_parser("demo", help="make a video with the anchor and the motion that ship")
    add_film_options(demo, anchor=DEMO_ANCHOR, motion=DEMO_MOTION, out=Path("demo.mp4"))
    generate = commands.add_parser("generate", help="make a video of your anchor with your motion")
    add_film_options(generate, anchor=None, motion=None, out=Path("anchor.mp4"))
    for parser in (demo, generate):
        parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Film the motion, write video and sheet, and say what was made; or how much memory that would take."""
    if args.dry_run:
        print(room_from(args, step=step_bar))
        return
    from ..sampling.ranks import ranks_from_environment

    with ranks_from_environment() as ranks:
        if ranks is not None and not ranks.main:
            _help(args, ranks)
            return
        film = film_from(args, step=step_bar, ranks=ranks)
    assert film is not None
    _report(film)


def _help(args: argparse.Namespace, ranks: Ranks) -> None:
    """The part of a process that is not the main one, which alone reports and warns."""
    from ..progress import silent_step
    from ..sampling.ranks import RankLost

    logging.getLogger("anchor").setLevel(logging.ERROR)
    try:
        film_from(args, step=silent_step, ranks=ranks)
    except RankLost:  # the main one says it, or is the one that was lost
        sys.exit(1)
    except AnchorError as error:
        raise AnchorError(f"process {ranks.rank + 1} of {ranks.world}: {error}") from error


def film_from(
    args: argparse.Namespace,
    *,
    step: StepFactory,
    ranks: Ranks | None = None,
    anchor: Anchor | None = None,
) -> Film | None:
    """Film what the options of `generate` say; step, ranks and what is returned: see `film_to_file`.

    anchor: what `anchor_with_parts` gave for the same ANCHOR_OPTIONS; None to load it.
    """
    from ..filming.film import film_to_file
    from ..sampling.ranks import prepared
    from ..video.write import check_video_name

    with prepared(ranks):
        check_video_name(args.out)
        check_outputs(args, args.out, args.out.with_suffix(".png"))
        scene, anchor = _scene(args, step, anchor)
        settings, crew = settings_from(args, anchor), _crew(args, anchor)
    try:
        return film_to_file(
            scene,
            crew,
            settings,
            args.out,
            step=step,
            folder=args.state,
            start_over=args.start_over,
            keep_folder=args.keep_state,
            ranks=ranks,
            facts=facts_from(args, anchor),
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on where it stopped") from None


def room_from(args: argparse.Namespace, *, step: StepFactory) -> str:
    """A table of the memory that the options of `generate` would take on the device, and of what there is."""
    from ..sampling.room import free_on, room_table

    scene, anchor = _scene(args, step, None)
    crew, n_frames = _crew(args, anchor), scene.motion.n_frames
    crew.check(scene.face is not None)
    works = {"body": crew.work("body", settings_from(args, anchor), n_frames)}
    if scene.face is not None:
        works["face"] = crew.work("face", scene.face.settings, n_frames)
    return room_table(works, *free_on(device_from(args)[0]))


def _scene(args: argparse.Namespace, step: StepFactory, anchor: Anchor | None) -> tuple[Scene, Anchor]:
    """What is filmed, read from the files that the options name."""
    from ..filming.scene import Scene

    with step("reading", " files") as bar:
        motion = motion_from(args)
        bar(1, 3, None)
        anchor = anchor or anchor_with_parts(args)
        bar(2, 3, None)
        body = body_from(args, motion.gender)
        bar(3, 3, None)
    motion = retargeted(args, motion, anchor.card)
    warn_of_ranges(motion, anchor.card, body)
    return Scene(motion, body, args.renderer, face_pass_from(args, anchor)), anchor


def _crew(args: argparse.Namespace, anchor: Anchor) -> AnchorCrew:
    from ..filming.crew import AnchorCrew, Runtime

    face = None if args.face_appearance is None else read_face(args.face_appearance)
    device, dtype = device_from(args)
    runtime = Runtime(device, dtype, engine_from(args, device))
    return AnchorCrew(anchor, runtime, _picture(args.appearance), face)


def _report(film: Film) -> None:
    """Say what was made, and which faces were left as they are."""
    from ..video.read import describe_video

    print(f"{film.video}: {describe_video(film.video)}")
    if film.painted is None:
        print(f"{film.sheet}: mesh over result")
        return
    left = ", ".join(f"{count} {reason}" for reason, count in film.hidden.items())
    print(f"{film.painted} faces painted" + (f", others left as they are: {left}" if left else ""))
    print(f"{film.sheet}: mesh, body pass and result; the same of the faces")


def _picture(path: Path | None) -> np.ndarray | None:
    if path is None:
        return None
    from ..video.read import read_picture

    return read_picture(path)
