"""Settings for cards of 12 to 40 GB and for small networks, for both stages and modes, and a file with them.

The published scripts train all weights with AdamW at 1e-5 in batches of 4; so do these. What they lack is
on: null tokens for guidance, clipping of all gradients, an average of the weights, perturbed meshes where
the dataset has them. The presets differ only in what saves memory; `memory.py` has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import AnchorError
from ..files import atomic_path
from .config import PUBLISHED, SGDMConfig
from .job import COMPUTED, DataSource, Monitor, StartPoint, job_from

Values = dict[str, Any]

STEPS = {
    ("body", "pretrain"): 300_000,
    ("face", "pretrain"): 300_000,
    ("body", "finetune"): 50_000,
    ("face", "finetune"): 80_000,
}
"""Of the paper, section 4.1."""
LACKING: Values = {"null_probability": 0.1, "ema_decay": 0.999, "perturbation": 0.5}
"""What the published scripts do without. The average spans 1000 steps: of 50,000 at 1e-5 the last ones differ
little, and a few hundred steps of a trial are not drowned in the start."""
FILES: Values = {"checkpoint_every": 1000, "log_every": 50, "device": "auto"}

PRESETS: dict[str, Values] = {
    "published": {},
    "40gb": {"precision": "bf16"},
    "24gb": {
        "precision": "bf16",
        "optimiser": "adamw8bit",
        "gradient_checkpointing": True,
    },
    "16gb": {
        "precision": "bf16",
        "optimiser": "adamw8bit",
        "gradient_checkpointing": True,
        "accumulation": 4,
        "ema_decay": 0.0,
    },
    "12gb": {
        "precision": "bf16",
        "gradient_checkpointing": True,
        "lora_rank": 64,
        "lora_alpha": 64.0,
        "learning_rate": 1e-4,
    },
    "demo": {
        "steps": 300,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "decay": "cosine",
        "warmup_steps": 20,
        "ema_decay": 0.97,
        "checkpoint_every": 50,
        "log_every": 10,
    },
}
"""By name; "published" is exactly what the published scripts do, "demo" is for networks as small as those of
the anchor that ships: they want a hundred times the learning rate, and learn a person within minutes."""


def preset_values(name: str, stage: str, mode: str) -> Values:
    """Values of [train] before the file's own: of a preset, or "" for the defaults of every job."""
    if name and name not in PRESETS:
        raise AnchorError(f"there is no preset {name!r}; known are {', '.join(PRESETS)}; choose one of them")
    published = {**PUBLISHED, "steps": STEPS[stage, mode]}
    if name == "published":
        return {**published, **FILES}
    # Perturbed meshes are those of the frame; the face has none.
    lacking = LACKING if stage == "body" else {**LACKING, "perturbation": 0.0}
    return {**published, **lacking, **FILES, **PRESETS.get(name, {})}


def write_config(path: Path, preset: str = "", stage: str = "body", mode: str = "finetune") -> None:
    """Write a commented TOML file with every key. Raises AnchorError where a file lies already."""
    if path.exists():
        raise AnchorError(f"{path} exists already; it is not written over; choose another name")
    top: Values = {"stage": stage, "mode": mode, "name": "Name of the person"}
    top["out"] = f"{path.stem}.safetensors"
    base = "stable-diffusion-v1-5" if stage == "body" else "stable-diffusion-inpainting"
    start = base if mode == "pretrain" else "pretrained.safetensors"
    given: dict[str, Values] = {
        "data": {"sets": ["dataset"]},
        "start": {"networks": start},
        "train": preset_values(preset, stage, mode),
    }
    job = job_from({**top, **given})
    lines = [f"# python -m anchor_core train {path.name}", "# Paths count from the folder of this file."]
    lines += _lines({**top, "licence": "", "consent": ""}, NOTES)
    for table, cls in (
        ("data", DataSource),
        ("start", StartPoint),
        ("train", SGDMConfig),
        ("monitor", Monitor),
    ):
        names = [f.name for f in fields(cls) if f.name not in COMPUTED]
        values = {key: given.get(table, {}).get(key, getattr(getattr(job, table), key)) for key in names}
        lines += ["", f"[{table}]", *_lines(values, {k: NOTES[f"{table}.{k}"] for k in names})]
    with atomic_path(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _lines(values: Mapping[str, Any], notes: Mapping[str, str]) -> list[str]:
    return [f"{f'{key} = {_toml(value)}':<36}  # {notes[key]}" for key, value in values.items()]


def _toml(value: Any) -> str:
    """A value as TOML writes it; nothing is the empty text."""
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, (int, float)):
        return repr(value)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


NOTES = {
    "stage": "body or face",
    "mode": "finetune on one person, or pretrain on several",
    "name": "of the person, on the anchor's card",
    "out": "the anchor file that is made",
    "licence": "of the weights, for the card",
    "consent": "who agreed to this likeness, and to what, for the card",
    "data.sets": "folders of `prepare`, or JSON-lines manifests (also of the published scripts)",
    "data.held_out": "manifest for the sample pictures; empty: the folder's own",
    "data.size": "side of the trained pictures in pixels; 0: that of the dataset",
    "data.cache": "folder of cached latents and tokens; empty: beside the checkpoints",
    "start.networks": "anchor file, published folder, Stable Diffusion 1.5 file or folder, or tiny",
    "start.vae": "where `networks` holds none: Stable Diffusion 1.5 file, or its VAE",
    "start.clip_vision": "likewise: CLIP ViT-B/32",
    "start.text_encoder": "likewise, for the empty prompt: Stable Diffusion 1.5 file",
    "start.into": "anchor file whose other stage (body, face) is kept in the result",
    "train.steps": "optimiser steps in all",
    "train.batch_size": "samples per step, of all processes together",
    "train.learning_rate": "after the warm-up",
    "train.decay": "constant, or cosine to zero",
    "train.warmup_steps": "of linear growth of the learning rate",
    "train.betas": "of AdamW",
    "train.weight_decay": "of AdamW",
    "train.gradient_clip": "largest norm of all gradients together",
    "train.ema_decay": "of the average of the weights that becomes the result; 0: the last weights",
    "train.seed": "of everything random",
    "train.device": "auto, cpu, cuda, cuda:1, ...",
    "train.checkpoint_every": "steps",
    "train.log_every": "steps",
    "train.keep_checkpoints": "how many stay on disk",
    "train.precision": "of the computation: fp32, bf16, fp16; the weights stay in fp32",
    "train.accumulation": "parts in which a batch is computed: less memory, more time",
    "train.gradient_checkpointing": "compute activations twice: less memory, a third more time",
    "train.optimiser": "adamw, or adamw8bit (needs bitsandbytes): a quarter of its memory",
    "train.clip_length": "neighbouring frames per sample; 1 as published",
    "train.shared_noise": "one noise for the frames of a sample",
    "train.null_probability": "share of samples without reference, so that guidance is trained",
    "train.train_vision": "train the vision tower too (pre-training of small networks)",
    "train.perturbation": "share of samples with a perturbed mesh (prepare --perturbed)",
    "train.min_snr_gamma": "weights of the steps by signal-to-noise ratio (5 is usual); 0: off",
    "train.lora_rank": "train low-rank layers instead of all weights; 0: all weights",
    "train.lora_alpha": "their strength, divided by the rank",
    "train.lora_layers": "attention, or all: convolutions too, five times the size",
    "monitor.every": "steps between pictures of held-out samples; 0: none",
    "monitor.samples": "how many",
    "monitor.tensorboard": "write losses and pictures there too, where it is installed",
}
"""What stands beside each key."""
