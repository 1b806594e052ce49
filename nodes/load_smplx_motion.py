"""Load a motion: what the presenter does."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..anchor_core.motion.formats.parts import ANGLES, ReadOptions
from ..anchor_core.motion.motion import HANDS, WORLDS
from . import _folders
from ._motion import (
    AS_THE_FILE_SAYS,
    MAX_FRAME,
    audio_input,
    audio_of,
    audio_output,
    motion_output,
    with_audio,
)
from ._types import advanced, schema

_AUTOMATIC = "automatic"


class LoadSMPLXMotion(io.ComfyNode):
    """A motion file of any known kind as SMPLX_MOTION."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Widgets: the file, the part of it, and what the file does not say."""
        return schema(
            node_id="LoadSMPLXMotion",
            display_name="Load SMPL-X Motion",
            search_aliases=[
                "SHOW",
                "TalkSHOW",
                "EMAGE",
                "AMASS",
                "BVH",
                "GVHMR",
                "gesture",
                "smplx",
                "mocap",
            ],
            description="Loads a motion of any known kind: SHOW, TalkSHOW, EMAGE and BEAT2, AMASS, "
            "Motion-X, SMPLer-X, OSX and Hand4Whole, Multi-HMR, GVHMR, WHAM, BVH, or our own .npz. The "
            "kind is told by the content. 'demo motion' ships with the pack.",
            inputs=[*_part_inputs(), audio_input(), *_unsaid_inputs()],
            outputs=[
                motion_output("Poses, expression, camera and sound."),
                io.Float.Output(
                    display_name="fps", tooltip="Frames per second of the motion; for Create Video."
                ),
                io.Int.Output(display_name="frames", tooltip="Number of frames that are used."),
                audio_output(),
                io.String.Output(
                    display_name="info",
                    tooltip="In words: the kind of the file, its length, and what its source did not "
                    "measure.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, motion: str, **_others: Any) -> str:
        """Load again when the file has changed."""
        return _folders.file_stamp(_folders.motion_path(motion))

    @classmethod
    def execute(
        cls,
        motion: str,
        start_frame: int,
        n_frames: int,
        sample: int,
        audio: dict[str, Any] | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Read the file, cut out the frames."""
        from ..anchor_core.errors import AnchorError
        from ..anchor_core.motion.describe import describe_motion
        from ..anchor_core.motion.read import read_motion

        whole = read_motion(_folders.motion_path(motion), _options(sample, **widgets))
        if start_frame >= len(whole):
            raise AnchorError(
                f"start_frame is {start_frame} and {motion} has {len(whole)} frames: "
                f"choose a start from 0 to {len(whole) - 1}"
            )
        stop = min(start_frame + n_frames, len(whole)) if n_frames else len(whole)
        part = with_audio(whole, audio).sliced(start_frame, stop)
        return io.NodeOutput(part, float(part.fps), len(part), audio_of(part), describe_motion(part))


def _options(
    sample: int,
    fps: float = 0.0,
    person: str = "",
    world: str = AS_THE_FILE_SAYS,
    hands: str = AS_THE_FILE_SAYS,
    angles: str = AS_THE_FILE_SAYS,
    skeleton: str = _AUTOMATIC,
    max_gap_s: float = ReadOptions.max_gap_s,
) -> ReadOptions:
    """What the widgets say of a file; those of workflows that are older than a widget have its default."""
    said = {"world": world, "hands": hands, "angles": angles}
    return ReadOptions(
        sample=sample or None,
        fps=fps or None,
        person=person.strip() or None,
        skeleton=None if skeleton == _AUTOMATIC else _folders.skeleton_path(skeleton),
        max_gap_s=max_gap_s,
        **{name: None if word == AS_THE_FILE_SAYS else word for name, word in said.items()},
    )


def _part_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "motion",
            options=_folders.motion_names(),
            default=_folders.DEMO_MOTION,
            tooltip="A motion file in ComfyUI's input folder (or one folder below), or a folder of SMPLer-X "
            "there. Files are read as data: no code in them is run.",
        ),
        io.Int.Input(
            "start_frame", default=0, min=0, max=MAX_FRAME, tooltip="First frame to use, counted from 0."
        ),
        io.Int.Input(
            "n_frames",
            default=0,
            min=0,
            max=MAX_FRAME,
            tooltip="Number of frames to use; 0 = to the end. 30 frames are one second at 30 fps; "
            "time and memory of all later steps grow with it.",
        ),
        advanced(
            io.Int.Input(
                "sample",
                default=0,
                min=0,
                max=9999,
                tooltip="Which motion of a TalkSHOW file that holds several, counted from 0.",
            )
        ),
    ]


def _unsaid_inputs() -> list[io.Input]:
    return [
        io.Float.Input(
            "fps",
            default=0.0,
            min=0.0,
            max=999.0,
            step=0.01,
            optional=True,
            tooltip="Frames per second, where the file does not say them (SMPLer-X, OSX, Multi-HMR, WHAM): "
            "those of the video that it was made from. 0 = as the file says.",
        ),
        advanced(
            io.String.Input(
                "person",
                default="",
                optional=True,
                tooltip="Which person of a file with several, by the name or number in the file; empty = "
                "the only one.",
            )
        ),
        _said("world", WORLDS, "Which way is up: cv is y down, yup is y up, zup is z up."),
        _said("hands", HANDS, "Whether finger angles are relative to a relaxed hand, or absolute."),
        _said("angles", ANGLES, "Unit of the angles."),
        advanced(
            io.Combo.Input(
                "skeleton",
                options=[_AUTOMATIC, *_folders.skeleton_names()],
                default=_AUTOMATIC,
                optional=True,
                tooltip="For a BVH whose joints have names of their own: a .json in the input folder that "
                "maps "
                'them, {"its joint": "SMPL-X joint"}.',
            )
        ),
        advanced(
            io.Float.Input(
                "max_gap_s",
                default=ReadOptions.max_gap_s,
                min=0.0,
                max=60.0,
                step=0.1,
                optional=True,
                tooltip="Seconds without a pose that are interpolated and marked; longer ones are refused.",
            )
        ),
    ]


def _said(name: str, words: tuple[str, ...], tooltip: str) -> io.Input:
    return advanced(
        io.Combo.Input(
            name,
            options=[AS_THE_FILE_SAYS, *words],
            default=AS_THE_FILE_SAYS,
            optional=True,
            tooltip=f"{tooltip} Change it only where the result looks wrong; the log says when a file "
            "looks odd.",
        )
    )
