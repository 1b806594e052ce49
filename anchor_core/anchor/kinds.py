"""What a foreign weight file is, in words for the person who chose it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

ANCHOR_KEY = "anchor"
"""The only entry in the metadata of an anchor: with several, safetensors writes them in random order."""

# First rule whose text is found in a name wins: the particular stands before the general.
_RULES: tuple[tuple[str, str], ...] = (
    ("lora_", "a LoRA"),
    ("lycoris_", "a LoRA"),
    ("hada_w1", "a LoRA"),
    ("conditioner.embedders", "a checkpoint of Stable Diffusion XL"),
    ("model.diffusion_model.joint_blocks", "a checkpoint of Stable Diffusion 3"),
    ("model.diffusion_model.", "a checkpoint of Stable Diffusion"),
    ("motion_modules", "a motion module of AnimateDiff"),
    ("control_model.", "a ControlNet"),
    ("controlnet_cond_embedding", "a ControlNet"),
    ("double_blocks.", "a diffusion transformer (Flux or a relative)"),
    ("first_stage_model.", "a VAE"),
    ("encoder.down", "a VAE"),
    ("decoder.up", "a VAE"),
    ("vision_model.", "a CLIP vision model"),
    ("text_model.", "a CLIP text encoder"),
    ("visual.", "a CLIP vision model of another layout (OpenCLIP)"),
    ("time_embedding.", "a U-Net of diffusers"),
)


def describe(names: Iterable[str], metadata: Mapping[str, str]) -> str:
    """A few words that say what a file with these tensor names is."""
    listed = list(names)
    if ANCHOR_KEY in metadata:
        return f"an anchor with {describe_parts(listed)}"
    for text, words in _RULES:
        if any(text in name for name in listed):
            return words
    if not listed:
        return "a file without tensors"
    return f"a file of {len(listed)} unknown tensors (the first is {listed[0]!r})"


def describe_parts(names: Iterable[str]) -> str:
    """The parts of an anchor in words: `body and vae`."""
    parts = sorted({name.split(".", 1)[0] for name in names}) or ["nothing"]
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1]))).replace("_", " ")
