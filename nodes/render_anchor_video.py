"""Film a motion straight into a video file: for clips that no IMAGE can hold."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from comfy_api.latest import InputImpl, io

from . import _folders, _host, _ledger
from ._anchor import LoadedAnchor
from ._crew import HostCrew
from ._motion import motion_input
from ._sampling import preset_input
from ._types import AnchorSocket, advanced, schema

if TYPE_CHECKING:
    from pathlib import Path

    from ..anchor_core.anchor.use import Stage
    from ..anchor_core.filming.crew import Tokens
    from ..anchor_core.filming.scene import FacePass, Scene
    from ..anchor_core.motion.motion import Motion
    from ..anchor_core.sampling.settings import SamplerSettings

log = logging.getLogger("anchor")

_SHARES = {
    "rendering the mesh": 0.05,
    "finding faces": 0.05,
    "denoising": 0.6,
    "decoding": 0.05,
    "cropping faces": 0.03,
    "denoising faces": 0.15,
    "decoding faces": 0.03,
    "blending faces": 0.04,
}
"""Of the bar, by the stages' names; without a face pass the bar ends early."""
FACES = ("auto", "on", "off")


class RenderAnchorVideo(io.ComfyNode):
    """SMPLX_MOTION and an anchor as a video file, whatever its length."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: who moves how; how it is made; where it goes."""
        return schema(
            node_id="RenderAnchorVideo",
            display_name="Render Anchor Video",
            search_aliases=["long video", "stream", "resume", "make your anchor", "presenter"],
            description="The whole way from a motion to a video file in one node: mesh, body, face, "
            "decoding, a few frames at a time. Memory does not grow with the clip. After Cancel or a crash "
            "queue the same again: it goes on where it stopped.",
            is_output_node=True,
            inputs=[*_scene_inputs(), *_settings_inputs(), *_token_inputs()],
            outputs=[
                io.Video.Output(
                    display_name="video",
                    tooltip="The finished file, with the motion's sound; for Save Video or Get Video "
                    "Components.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        """Refuse what is no name of a file before anything runs."""
        return _folders.refused_name(name) or True

    @classmethod
    def fingerprint_inputs(cls, name: str | None = None, **_inputs: Any) -> str:
        """Look again when videos of this name were deleted or changed by others."""
        if not isinstance(name, str):
            return ""
        place = _folders.output_folder(_folders.RENDERS, name)
        return _ledger.fingerprint(str(place), _state(place))

    @classmethod
    def execute(
        cls,
        anchor: LoadedAnchor,
        motion: Motion,
        name: str,
        body: str,
        retarget: bool,
        face: str,
        preset: str,
        seed: int,
        steps: int,
        cfg: float,
        positive: list[list[Any]] | None = None,
        face_positive: list[list[Any]] | None = None,
    ) -> io.NodeOutput:
        """Film, or find what was filmed before."""
        from ..anchor_core.filming.film import film_digest, film_to_file

        given = {"body": positive, "face": face_positive}
        asked = {"seed": seed, "steps": steps or None, "guidance_scale": None if cfg == -1 else cfg}
        settings = {stage: _settings(anchor, stage, preset, asked) for stage in _stages(anchor, face, given)}
        tokens = {stage: _tokens(anchor, stage, given[stage]) for stage in settings}
        scene = _scene(anchor, motion, body, retarget, settings.get("face"))
        crew, facts = HostCrew(anchor, tokens), {"anchor": anchor.card.name, "preset": preset}
        digest = film_digest(scene, crew, settings["body"], facts)
        place = _folders.output_folder(_folders.RENDERS, name)
        path = place.with_name(f"{place.name}_{digest}.mp4")
        if path.is_file():
            log.info("%s was rendered before, with the same inputs: delete it to render it again", path)
        else:
            step = _host.StageProgress(_SHARES)
            film_to_file(scene, crew, settings["body"], path, step=step, facts=facts)
        _ledger.has_run(str(place), _state(place))
        return io.NodeOutput(InputImpl.VideoFromFile(str(path)), ui=_folders.output_video_ui(path))


def _state(place: Path) -> str:
    """Which videos of a name lie there. place: their path without digits and suffix."""
    ours = re.compile(re.escape(place.name) + r"_[0-9a-f]{16}\.mp4")
    found = place.parent.iterdir() if place.parent.is_dir() else ()
    return "\n".join(_folders.file_stamp(path) for path in sorted(found) if ours.fullmatch(path.name))


def _stages(anchor: LoadedAnchor, face: str, given: dict[str, Any]) -> list[Stage]:
    """Body, and face where it is wanted; "auto" wants it where the anchor has all that it needs."""
    has_picture = anchor.anchor.face_reference is not None or bool(given["face"])
    wanted = anchor.anchor.face is not None and has_picture if face == "auto" else face == "on"
    return ["body", "face"] if wanted else ["body"]


def _settings(anchor: LoadedAnchor, stage: Stage, preset: str, asked: dict[str, Any]) -> SamplerSettings:
    """What the card says, changed by the preset, changed by the widgets; only the seed is for both."""
    from ..anchor_core.anchor.use import sampler_settings
    from ..anchor_core.sampling.presets import preset_overrides

    chosen = {name: value for name, value in asked.items() if value is not None}
    if stage == "face":
        chosen = {"seed": asked["seed"]}
    return sampler_settings(anchor.card, stage, **preset_overrides(preset, anchor.card, stage) | chosen)


def _tokens(anchor: LoadedAnchor, stage: Stage, positive: list[list[Any]] | None) -> Tokens:
    """Tokens of a CONDITIONING, or of the picture inside the anchor file."""
    from ..anchor_core.anchor.use import appearance_tokens

    anchor.network(stage)  # an anchor without this network is refused before the work
    if positive:
        tokens = anchor.tokens_of(positive, "positive" if stage == "body" else "face_positive", stage)
        return tokens, anchor.null_of(None, tokens.shape[1], stage)
    with _host.tower_on_device(anchor.anchor) as device:
        tokens, null = appearance_tokens(anchor.anchor, None, device, stage)
    return tokens.cpu(), None if null is None else null.cpu()


def _scene(
    anchor: LoadedAnchor, motion: Motion, body: str, retarget: bool, face: SamplerSettings | None
) -> Scene:
    from ..anchor_core.filming.scene import FacePass, Scene, face_tracking

    staged = anchor.stage(motion, enabled=retarget)
    figure = _folders.load_body(body, motion.gender)
    anchor.warn_of_ranges(staged, figure)
    painted: FacePass | None = None if face is None else FacePass(face, face_tracking(anchor.card))
    return Scene(staged, figure, face=painted)


def _scene_inputs() -> list[io.Input]:
    return [
        AnchorSocket.Input("anchor", tooltip="The person; from Load Anchor."),
        motion_input(),
        io.String.Input(
            "name",
            default="presenter",
            tooltip="Name of the video: output/anchor_renders/<name>_<digits>.mp4. The digits stand for all "
            "inputs: the same inputs find what was finished, or begun, before.",
        ),
        io.Combo.Input(
            "body", options=_folders.body_names(), tooltip="What moves; as in Render SMPL-X Mesh."
        ),
        io.Boolean.Input(
            "retarget",
            default=True,
            tooltip="Put the motion on the anchor's person; as in Render SMPL-X Mesh.",
        ),
        io.Combo.Input(
            "face",
            options=list(FACES),
            default="auto",
            tooltip="Paint the faces once more, enlarged. auto: where the anchor has a face network and a "
            "picture of the face.",
        ),
    ]


def _settings_inputs() -> list[io.Input]:
    return [
        preset_input(optional=False),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            control_after_generate=False,
            tooltip="Seed of the noise. The same seed and settings give the same video.",
        ),
        advanced(
            io.Int.Input(
                "steps",
                default=0,
                min=0,
                max=1000,
                tooltip="Denoising steps of the body; 0 = as preset and anchor say.",
            )
        ),
        advanced(
            io.Float.Input(
                "cfg",
                default=-1.0,
                min=-1.0,
                max=30.0,
                step=0.1,
                tooltip="Guidance of the body; 1 = off, half the time; -1 = as preset and anchor say.",
            )
        ),
    ]


def _token_inputs() -> list[io.Input]:
    return [
        io.Conditioning.Input(
            "positive",
            optional=True,
            tooltip="What the person looks like; from Appearance CLIP Encode. Empty: the anchor's own "
            "picture.",
        ),
        io.Conditioning.Input(
            "face_positive",
            optional=True,
            tooltip="What the face looks like; from Appearance CLIP Encode with stage face. Empty: the "
            "anchor's own picture.",
        ),
    ]
