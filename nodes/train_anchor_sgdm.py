"""Train an anchor on a prepared dataset, watch it, go on with it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from comfy_api.latest import io

from ..anchor_core.errors import AnchorError
from ..anchor_core.training.presets import PRESETS
from . import _folders, _host, _ledger
from ._loading import find_source, load_source
from ._training import AS_PRESET, AUTOMATIC, TrainingView, make_job, training_folder
from ._types import AnchorSocket, DatasetSocket, advanced, schema

if TYPE_CHECKING:
    from pathlib import Path

    from ..anchor_core.training.job import TrainingJob
    from ._anchor import LoadedAnchor
    from ._loading import AnchorSource
    from ._types import AnchorDataset

log = logging.getLogger("anchor")

STAGES = ("body", "face")


class TrainAnchorSGDM(io.ComfyNode):
    """ANCHOR_DATASET and a trained anchor as the anchor of a new person."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: the data, where to start, how to train."""
        return schema(
            node_id="TrainAnchorSGDM",
            display_name="Train Anchor (SGDM)",
            search_aliases=["fine-tune", "training", "make your anchor", "dreambooth", "LoRA"],
            description="Trains the networks of a person on a dataset, and saves them to models/anchors. "
            "Losses and held-out samples are shown in the node while it runs. Cancel keeps a checkpoint: "
            "the next run with the same name goes on there.",
            is_output_node=True,
            inputs=[*_job_inputs(), *_train_inputs(), *_rare_inputs()],
            outputs=[
                AnchorSocket.Output(
                    display_name="anchor",
                    tooltip="The trained person, as Load Anchor would give it: connect the sampler.",
                ),
                io.Vae.Output(
                    display_name="vae", tooltip="Decodes the sampler's latents; for VAE Decode (also tiled)."
                ),
                io.Image.Output(
                    display_name="picture",
                    tooltip="Held-out samples beside the truth, and the losses, as shown in the node.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        """Refuse what is no name of a file before anything runs."""
        return _folders.refused_name(name) or True

    @classmethod
    def fingerprint_inputs(cls, name: str | None = None, stage: str | None = None, **_inputs: Any) -> str:
        """Run again when the training was stopped or its files were changed; not when it is finished."""
        if not isinstance(name, str) or not isinstance(stage, str):
            return ""
        return _ledger.fingerprint(str(training_folder(name, stage)), _state(name, stage))

    @classmethod
    def execute(
        cls,
        dataset: AnchorDataset,
        start: str,
        name: str,
        stage: str,
        guidance_dropout: float,
        anchor: LoadedAnchor | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Make the job, run it, load what it has made."""
        if stage not in STAGES:
            raise AnchorError(f"stage is '{stage}': choose body or face")
        source, kept = _start(start, anchor, stage)
        name = _folders.check_folder_name(name)
        view = TrainingView(training_folder(name, stage))
        given = {**widgets, "name": name, "stage": stage, "null_probability": guidance_dropout}
        with _host.training_device() as device:
            job = make_job(dataset, source, device, kept=kept, **given)
            path = _run(job, view)
        _ledger.has_run(str(training_folder(name, stage)), _state(name, stage))
        loaded, picture = load_source(find_source(path)), view.picture()
        assert picture is not None  # the last step is always drawn
        shown = _host.to_host(torch.from_numpy(picture)[None].float() / 255)
        return io.NodeOutput(loaded, loaded.vae, shown, ui=_folders.output_ui(view.files()))


def _start(start: str, anchor: LoadedAnchor | None, stage: str) -> tuple[AnchorSource, Path | None]:
    """Where the networks come from, and the file whose other stage is kept."""
    own = None if anchor is None else anchor.source
    if anchor is None or own is None:
        return find_source(_folders.anchor_path(start)), None
    if getattr(anchor.anchor, stage) is None:
        return find_source(_folders.anchor_path(start)), own.path
    return own, own.path if stage == "face" else None


def _run(job: TrainingJob, view: TrainingView) -> Path:
    """Train, and say where it goes on when it is stopped."""
    from ..anchor_core.training.checkpoint import CHECKPOINT
    from ..anchor_core.training.run import run_job

    kept = job.folder / CHECKPOINT
    log.info("%s: %s", job.folder.name, "goes on from its checkpoint" if kept.is_file() else "a new training")
    try:
        return run_job(job, view.step, view.watch)
    except BaseException:  # a cancelled run, of a kind that depends on the host's version
        if kept.is_file():
            log.warning("%s was stopped; the same name goes on from %s", job.folder.name, kept)
        raise


def _state(name: str, stage: str) -> str:
    """What lies there of a training: its checkpoint, and whether there is an anchor."""
    from ..anchor_core.training.checkpoint import CHECKPOINT

    kept = training_folder(name, stage) / CHECKPOINT
    made = _folders.new_anchor_path(name).is_file()
    return f"{made} {_folders.file_stamp(kept) if kept.is_file() else ''}"


def _job_inputs() -> list[io.Input]:
    return [
        DatasetSocket.Input("dataset", tooltip="The pictures of the person, from Prepare Anchor Dataset."),
        io.Combo.Input(
            "start",
            options=_folders.anchor_names(),
            default=_folders.DEMO,
            tooltip="The trained anchor to start from: a pre-trained one, or another person. The size of "
            "the dataset must be the one it was trained at.",
        ),
        AnchorSocket.Input(
            "anchor",
            optional=True,
            tooltip="Start from this one instead, with the VAE and the vision tower chosen in Load Anchor. "
            "For the face: the anchor that gets it, as of a Train Anchor for the body; where it has no face "
            "yet, start gives one.",
        ),
        io.String.Input(
            "name",
            default="presenter",
            tooltip="Name of the person: the anchor is saved as models/anchors/<name>.safetensors. The same "
            "name goes on where a training was stopped, and with more steps where one had ended; the "
            "other stage of a person of this name is kept.",
        ),
        io.Combo.Input(
            "stage",
            options=list(STAGES),
            tooltip="body: the whole frame. face: the second network, which paints the face; train the body "
            "first, then the face with the same name.",
        ),
        io.Combo.Input(
            "preset",
            options=[AUTOMATIC, *PRESETS],
            default=AUTOMATIC,
            tooltip="Settings for the memory of a card. automatic: by the memory of this one. published: "
            "exactly as the paper's scripts. 12gb trains a LoRA, the others all weights. demo: for networks "
            "as small as those of the demo anchor, which want a hundred times the learning rate.",
        ),
        io.Int.Input(
            "steps",
            default=2000,
            min=1,
            max=10_000_000,
            tooltip="Steps in all, those of earlier runs included; the paper takes 50,000 for the body and "
            "80,000 for the face. More can be added later.",
        ),
        io.Int.Input(
            "sample_every",
            default=200,
            min=0,
            max=1_000_000,
            tooltip="Steps between two pictures of held-out samples; 0 = none.",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=2**31 - 1,
            control_after_generate=False,
            tooltip="Of everything random. The same seed gives the same weights on the same machine.",
        ),
    ]


def _train_inputs() -> list[io.Input]:
    return [
        io.Float.Input(
            "learning_rate",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.000001,
            round=0.000001,
            tooltip="0 = as the preset says: 0.00001 as published, 0.0001 for a LoRA. Small networks like "
            "the demo's take 0.0001 to 0.001.",
        ),
        io.Int.Input(
            "batch_size",
            default=0,
            min=0,
            max=1024,
            tooltip="Frames per step; 0 = as the preset says (4).",
        ),
        io.Combo.Input(
            "precision",
            options=[AS_PRESET, "fp32", "bf16", "fp16"],
            default=AS_PRESET,
            tooltip="Number type of the computation; the weights themselves stay in fp32. bf16 is what "
            "newer cards are quickest in.",
        ),
        io.Int.Input(
            "lora_rank",
            default=-1,
            min=-1,
            max=1024,
            tooltip="Above 0: train low-rank layers of this rank, and save a small file that stands on the "
            "anchor it started from. 0: all weights. -1: as the preset says.",
        ),
        io.Float.Input(
            "perturbation",
            default=-1.0,
            min=-1.0,
            max=1.0,
            step=0.05,
            tooltip="Share of the frames that see a perturbed mesh, where the dataset has them. -1 = as the "
            "preset says (0.5).",
        ),
        io.Float.Input(
            "guidance_dropout",
            default=-1.0,
            min=-1.0,
            max=1.0,
            step=0.05,
            tooltip="Share of the frames that are trained without the reference picture; without them cfg "
            "above 1 means nothing. -1 = as the preset says (0.1; published 0).",
        ),
    ]


def _rare_inputs() -> list[io.Input]:
    return [
        advanced(
            io.Float.Input(
                "min_snr_gamma",
                default=-1.0,
                min=-1.0,
                max=1000.0,
                step=0.5,
                tooltip="Weights the noise levels by min-SNR; 5 is usual, 0 is off, -1 as the preset says. "
                "Not for anchors whose schedule ends in pure noise, as the demo's does.",
            )
        ),
        advanced(
            io.String.Input(
                "licence",
                default="",
                tooltip="Licence of the weights, for the card of the anchor.",
            )
        ),
    ]
