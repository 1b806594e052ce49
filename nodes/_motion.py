"""What the motion nodes share: widgets, and the host's AUDIO as the sound of a motion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from comfy_api.latest import io

from ..anchor_core.errors import AnchorError
from ._types import MotionSocket

if TYPE_CHECKING:
    from ..anchor_core.motion.motion import Motion
    from ..anchor_core.motion.soundtrack import Soundtrack

AS_THE_FILE_SAYS = "as the file says"
MAX_FRAME = 1_000_000
MAX_SECONDS = 36_000.0


def motion_input(
    name: str = "motion",
    tooltip: str = "What the body does, from Load SMPL-X Motion or any other node of motions.",
    **given: Any,
) -> io.Input:
    """A socket for a motion."""
    return MotionSocket.Input(name, tooltip=tooltip, **given)


def motion_output(tooltip: str) -> io.Output:
    """The socket that a motion leaves by."""
    return MotionSocket.Output(display_name="motion", tooltip=tooltip)


def audio_input() -> io.Input:
    """A socket for the sound that belongs to a motion."""
    return io.Audio.Input(
        "audio",
        optional=True,
        tooltip="Sound that belongs to the motion and begins with its first frame, as of Load Audio. From "
        "then on it travels with the motion: every cut, join and loop cuts, joins and loops it too. It "
        "replaces sound that the motion brings.",
    )


def audio_output() -> io.Output:
    """The socket that the sound of a motion leaves by."""
    return io.Audio.Output(
        display_name="audio",
        tooltip="The motion's sound, exactly as long as its frames; for Create Video. Nothing where the "
        "motion has no sound.",
    )


def seconds_input(name: str, default: float, tooltip: str, least: float = 0.0) -> io.Input:
    """A length or a place in time."""
    return io.Float.Input(name, default=default, min=least, max=MAX_SECONDS, step=0.01, tooltip=tooltip)


def with_audio(motion: Motion, audio: dict[str, Any] | None) -> Motion:
    """The motion with the host's AUDIO as its sound; as it is where there is none."""
    from dataclasses import replace

    return motion if audio is None else replace(motion, sound=soundtrack_of(audio, motion.duration_s))


def soundtrack_of(audio: dict[str, Any], duration_s: float) -> Soundtrack:
    """The first clip of an AUDIO, as much of it as a motion of this length needs; its first two channels."""
    from ..anchor_core.motion.soundtrack import Soundtrack

    waveform, rate = audio.get("waveform"), audio.get("sample_rate")
    if not isinstance(waveform, torch.Tensor) or waveform.ndim != 3 or not len(waveform) or not rate:
        raise AnchorError("audio holds no sound: connect Load Audio, or nothing")
    samples = waveform[0, :2, : round(duration_s * rate) + 1].float().cpu().numpy()
    return Soundtrack(samples, int(rate))


def audio_of(motion: Motion) -> dict[str, Any] | None:
    """The sound of a motion as the host's AUDIO."""
    if motion.sound is None:
        return None
    waveform = torch.from_numpy(motion.sound.waveform.copy())[None]
    return {"waveform": waveform, "sample_rate": motion.sound.rate}
