"""Make the pictures that an anchor is trained on, out of a video and its motion."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import torch
from comfy_api.latest import io

from ..anchor_core.errors import AnchorError
from . import _folders, _host, _ledger
from ._motion import motion_input
from ._recording import frames_file, motion_file, video_file
from ._types import AnchorDataset, DatasetSocket, MotionSocket, advanced, schema

if TYPE_CHECKING:
    from pathlib import Path

    from ..anchor_core.dataset.card import DatasetCard
    from ..anchor_core.dataset.recording import Recording
    from ..anchor_core.motion.motion import Motion

BACKGROUNDS = {"black": (0, 0, 0), "grey": (128, 128, 128), "white": (255, 255, 255), "green": (0, 177, 64)}
_SHARES = (0.95, 0.05)
"""Of the bar: writing the pictures, checking them."""


class PrepareAnchorDataset(io.ComfyNode):
    """VIDEO and SMPLX_MOTION as a dataset folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: the recording, the person, how the pictures are made."""
        return schema(
            node_id="PrepareAnchorDataset",
            display_name="Prepare Anchor Dataset",
            search_aliases=["dataset", "training data", "prepare", "crop", "one minute of video"],
            description="Makes a dataset out of a video of one person and its motion: cropped frames, mesh "
            "renders, face crops, and a part that is held out. Written to anchor_datasets in the output "
            "folder; a run that was stopped goes on where it was. Shows how mesh and person fit: look at "
            "that before you train.",
            is_output_node=True,
            inputs=[*_recording_inputs(), *_picture_inputs(), *_rare_inputs()],
            outputs=[
                DatasetSocket.Output(
                    display_name="dataset", tooltip="For Train Anchor and Evaluate Anchor Video."
                ),
                io.Image.Output(
                    display_name="alignment",
                    tooltip="Outlines of the mesh over frames of the video, the worst and the best.",
                ),
                MotionSocket.Output(
                    display_name="held_out_motion",
                    tooltip="The motion of the frames that are not trained on, with their camera: what an "
                    "anchor makes of it can be compared with the true frames.",
                ),
                io.String.Output(
                    display_name="report", tooltip="In words: how many frames, and how mesh and person fit."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        """Refuse what is no name of a folder before anything runs."""
        return _folders.refused_name(name) or True

    @classmethod
    def fingerprint_inputs(cls, name: str | None = None, **_inputs: Any) -> str:
        """Look again when the folder was changed by others."""
        if not isinstance(name, str):
            return ""
        folder = _folders.output_folder(_folders.DATASETS, name)
        return _ledger.fingerprint(str(folder), _state(folder))

    @classmethod
    def execute(
        cls,
        video: Any,
        motion: Motion,
        name: str,
        consent: str,
        background: str,
        body: str,
        matte: Any = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Lay the recording out as files, prepare, show the alignment."""
        from ..anchor_core.dataset.prepare import ALIGNMENT_PICTURE, prepare_dataset
        from ..anchor_core.dataset.recording import PrepareOptions
        from ..anchor_core.video.read import read_picture

        if background not in BACKGROUNDS:
            raise AnchorError(f"background is '{background}': choose {', '.join(BACKGROUNDS)}")
        folder = _folders.output_folder(_folders.DATASETS, name)
        options = PrepareOptions(
            body=_folders.body_place(body), background=BACKGROUNDS[background], **widgets
        )
        recording = _recording(video, motion, matte, folder.name)
        card = prepare_dataset([recording], folder, options, _host.PartProgress(*_SHARES))
        _ledger.has_run(str(folder), _state(folder))
        dataset = AnchorDataset(folder, folder.name, consent.strip(), card.hash)
        picture = torch.from_numpy(read_picture(folder / ALIGNMENT_PICTURE))[None].float() / 255
        ui = _folders.output_ui([folder / ALIGNMENT_PICTURE])
        return io.NodeOutput(
            dataset, _host.to_host(picture), held_out_motion(folder, card), report(card), ui=ui
        )


def held_out_motion(folder: Path, card: DatasetCard) -> Motion:
    """The motion of the part that is not trained on; all of it where nothing is held out."""
    from ..anchor_core.motion.file import load_motion

    motion = load_motion(folder / "motion" / f"{card.clips[0].name}.npz")
    return motion.sliced(len(motion) - card.held_out_frames) if card.held_out_frames else motion


def report(card: DatasetCard) -> str:
    """What a dataset holds, in a few lines."""
    clip = card.clips[0]
    left, top, width, height = clip.crop
    return "\n".join(
        [
            f"{card.frames} frames of {clip.person} to train on and {card.held_out_frames} held out, "
            f"{card.size} pixels, {card.fps:.5g} fps",
            f"faces: {card.faces} to train on and {card.held_out_faces} held out, {card.head_size} pixels",
            f"crop: {width:g} x {height:g} pixels at {left:g}, {top:g}",
            *clip.alignment.get("verdict", []),
        ]
    )


def _recording(video: Any, motion: Motion, matte: Any, person: str) -> Recording:
    from ..anchor_core.dataset.recording import Recording

    mask = None
    if isinstance(matte, torch.Tensor):
        masks = matte if matte.ndim == 3 else matte[None]
        mask = frames_file(masks, Fraction(motion.fps).limit_denominator(1001), "matte")
    elif matte is not None:
        mask = video_file(matte, "matte")
    return Recording(video_file(video), motion_file(motion), person, mask)


def _state(folder: Path) -> str:
    card = folder / "card.json"
    return _folders.file_stamp(card) if card.is_file() else ""


def _recording_inputs() -> list[io.Input]:
    return [
        io.Video.Input(
            "video",
            tooltip="One minute or more of one person before a camera that stands still, from Load Video. "
            "Read frame by frame, so its length does not matter.",
        ),
        motion_input(
            tooltip="What the person does in that video, with the camera that saw it: the result of an "
            "estimator such as SHOW, from Load SMPL-X Motion, as it is."
        ),
        io.String.Input(
            "name",
            default="presenter",
            tooltip="Name of the person and of the folder in output/anchor_datasets. The same name with the "
            "same recording goes on where an earlier run was stopped.",
        ),
        io.String.Input(
            "consent",
            default="",
            multiline=True,
            tooltip="Who agreed to this likeness, and to what. It is written on the card of every anchor "
            "that is trained on this dataset.",
        ),
        io.MultiType.Input(
            "matte",
            types=[io.Video, io.Mask],
            optional=True,
            tooltip="White where the person is, one picture per frame of the video: everything else becomes "
            "the background colour. Connect it to train a person without the room.",
        ),
    ]


def _picture_inputs() -> list[io.Input]:
    from ..anchor_core.dataset.recording import PrepareOptions

    usual = PrepareOptions()
    return [
        io.Int.Input(
            "size",
            default=usual.size,
            min=32,
            max=4096,
            step=8,
            tooltip="Side of the pictures in pixels, a multiple of 8: that of the anchor you start from. "
            "512 is published, the demo has 192.",
        ),
        io.Int.Input(
            "head_size",
            default=usual.head_size,
            min=32,
            max=2048,
            step=8,
            tooltip="Side of the aligned face crops in pixels, a multiple of 8, for the face network. 256 is "
            "published, the demo has 128.",
        ),
        io.Float.Input(
            "held_out",
            default=usual.held_out,
            min=0.0,
            max=0.5,
            step=0.01,
            tooltip="Share of the video, its end, that is not trained on: sample pictures and measurements "
            "are made of it.",
        ),
        io.Int.Input(
            "perturbed",
            default=usual.perturbed,
            min=0,
            max=16,
            tooltip="Further meshes of each frame, of slightly wrong motion: an anchor that sees them in "
            "training forgives the errors of estimators. 1 to 3; each takes as much disk as the frames.",
        ),
        io.Combo.Input(
            "body",
            options=_folders.body_names(),
            tooltip="The body that is drawn, the same as in Render SMPL-X Mesh later. The stand-in ships "
            "with the pack; your SMPL-X .npz goes into models/smplx.",
        ),
    ]


def _rare_inputs() -> list[io.Input]:
    return [
        advanced(
            io.Combo.Input(
                "background",
                options=list(BACKGROUNDS),
                tooltip="Colour behind the person where a matte is connected.",
            )
        ),
        advanced(
            io.Boolean.Input(
                "trim",
                default=False,
                tooltip="Cut video and motion to the shorter of the two, instead of refusing them where "
                "they differ in length.",
            )
        ),
        advanced(
            io.Boolean.Input(
                "accept_misfit",
                default=False,
                tooltip="Go on where no person is found under the mesh. Look at the alignment first.",
            )
        ),
        advanced(
            io.Int.Input(
                "seed",
                default=0,
                min=0,
                max=2**31 - 1,
                control_after_generate=False,
                tooltip="Of the choice of reference pictures and of the perturbed meshes.",
            )
        ),
    ]
