"""Change a motion: its rate, its calm, its sides, its root, its legs, its hands, its expressiveness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..anchor_core.motion.edits.plan import Edits
from ._motion import motion_input, motion_output
from ._types import advanced, schema

if TYPE_CHECKING:
    from ..anchor_core.motion.motion import Motion


class EditSMPLXMotion(io.ComfyNode):
    """SMPLX_MOTION to SMPLX_MOTION; every widget is neutral at first."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: the motion and one widget per edit, in the order in which they are made."""
        return schema(
            node_id="EditSMPLXMotion",
            display_name="Edit SMPL-X Motion",
            search_aliases=["smooth", "resample", "mirror", "retime", "fps", "gesture"],
            description="Edits a motion: frame rate, smoothing, mirror, root, legs, hands, strength of "
            "gestures and mouth, place of the sound. All widgets leave the motion as it is until they are "
            "changed; the sound stays in time.",
            inputs=[motion_input(), *_time_inputs(), *_body_inputs(), *_gain_inputs()],
            outputs=[motion_output("The motion with these edits.")],
        )

    @classmethod
    def execute(cls, motion: Motion, **widgets: Any) -> io.NodeOutput:
        """Edit."""
        from ..anchor_core.motion.edits.plan import apply_edits

        fps = widgets.pop("fps") or None
        return io.NodeOutput(apply_edits(motion, Edits(fps=fps, **widgets)))


def _time_inputs() -> list[io.Input]:
    return [
        io.Float.Input(
            "fps",
            default=0.0,
            min=0.0,
            max=240.0,
            step=0.01,
            tooltip="Frames per second to resample to, for example those that the anchor was trained at "
            "(25 or 30). Turns are interpolated on the sphere; length and sound stay. 0 = as it is.",
        ),
        io.Combo.Input(
            "smoothing",
            options=["none", "savgol", "one_euro"],
            default=Edits.smoothing,
            tooltip="savgol: a sliding polynomial, no lag; for jittering estimators. one_euro: calm where "
            "slow, quick where fast. none: motion of generators and of good capture needs nothing.",
        ),
        advanced(
            io.Int.Input(
                "window",
                default=Edits.window,
                min=3,
                max=99,
                step=2,
                tooltip="Frames that savgol looks at, an odd number; more is calmer and duller.",
            )
        ),
        io.Boolean.Input(
            "mirror", default=Edits.mirror, tooltip="Swap left and right: hands, face and direction."
        ),
    ]


def _body_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "root",
            options=["source", "freeze"],
            default=Edits.root,
            tooltip="freeze: the body stays where it is in the first frame, and turned as there. source: "
            "as it is.",
        ),
        io.Combo.Input(
            "lower_body",
            options=["source", "sit", "stand"],
            default=Edits.lower_body,
            tooltip="sit or stand: the legs take that pose. An anchor filmed seated wants sit.",
        ),
        _gain(
            "curl",
            -1.0,
            1.0,
            "Hands: 1 closes them to fists, -1 makes them flat, 0 leaves them. For hands that a source "
            "opens or closes too much.",
        ),
    ]


def _gain_inputs() -> list[io.Input]:
    return [
        _gain(
            "gestures",
            0.0,
            3.0,
            "Strength of the arms' movement about their mean: 0 still, 1 as it is, 1.3 livelier.",
        ),
        _gain("hands_gain", 0.0, 3.0, "The same of the fingers."),
        _gain("mouth", 0.0, 3.0, "How far the mouth opens and moves: 1 as it is."),
        _gain(
            "sound_offset_s",
            -60.0,
            60.0,
            "Seconds by which the sound comes later (below 0: earlier), where it is not in time.",
        ),
    ]


def _gain(name: str, least: float, most: float, tooltip: str) -> io.Input:
    return io.Float.Input(name, default=getattr(Edits, name), min=least, max=most, step=0.01, tooltip=tooltip)
