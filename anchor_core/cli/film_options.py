"""The options of a film, and what they stand for; `demo`, `generate` and `render-many` share them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..sampling.presets import DEFAULT_PRESET, PRESETS
from .faces import add_face_options, flag_of
from .options import add_base_option, add_device_options, add_motion_options, anchor_from
from .retargeting import add_retarget_options

if TYPE_CHECKING:
    import torch

    from ..anchor.file import Anchor
    from ..sampling.settings import SamplerSettings
    from ..sgdm.engine import Engine

SAMPLER_OPTIONS: tuple[tuple[str, type, str], ...] = (
    ("steps", int, "denoising steps"),
    ("guidance_scale", float, "weight of the appearance guidance; 1 = off, half the time"),
    ("condition_scale", float, "weight of the mesh condition (W_c)"),
    ("window_size", int, "frames that are denoised together"),
    ("overlap", int, "frames that neighbouring windows share"),
    ("schedule", str, "static, reference, uniform or looped windows, of both passes"),
    ("weighting", str, "flat, pyramid or overlap-linear, of both passes"),
    ("scheduler", str, "ddim, dpm++2m, unipc, euler or lcm, of both passes"),
    ("guidance_start", float, "share of the steps, 0 to 1, from which guidance acts, of both passes"),
    ("guidance_end", float, "share of the steps to which guidance acts, of both passes"),
    ("far_keys", int, "average the keys of other frames over blocks of N x N, of both passes; 1 = exact"),
    ("reuse", int, "compute the inner layers in every N-th step only, of both passes; 1 = exact"),
    ("seed", int, "the same seed and settings give the same video on the same device"),
)
ANCHOR_OPTIONS = ("anchor", "base", "vae", "clip_vision", "text_encoder", "lora", "lora_scale")
"""What `anchor_with_parts` looks at: with the same values it loads the same anchor."""
ATTENTION = ("auto", "sdpa", "flash", "cudnn", "sage", "xformers")
"""As `sgdm.engine.ATTENTION_KERNELS`, which imports torch."""


def add_film_options(
    parser: argparse.ArgumentParser, anchor: Path | None, motion: Path | None, out: Path
) -> None:
    """All of them; anchor, motion: defaults, None where they have to be given."""
    parser.add_argument(
        "--anchor",
        type=Path,
        default=anchor,
        required=anchor is None,
        metavar="FILE",
        help="anchor file or folder",
    )
    add_base_option(parser)
    add_motion_options(parser, motion)
    add_retarget_options(parser)
    _add_parts(parser)
    parser.add_argument(
        "--out", type=Path, default=out, metavar="MP4", help=f"(default {out}; a sheet goes beside it)"
    )
    _add_sampler_options(parser)
    add_face_options(parser)
    add_device_options(parser)
    _add_engine_options(parser)
    _add_state_options(parser)


def _add_parts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--appearance", type=Path, metavar="PNG", help="reference picture (default: the anchor's own)"
    )
    parser.add_argument(
        "--vae", type=Path, metavar="FILE", help="SD1.5 checkpoint or VAE, if the anchor has none"
    )
    parser.add_argument(
        "--clip-vision", type=Path, metavar="FILE", help="CLIP ViT-B/32, if the anchor has none"
    )
    parser.add_argument(
        "--text-encoder", type=Path, metavar="FILE", help="SD1.5 checkpoint, for the empty prompt"
    )
    parser.add_argument(
        "--lora",
        type=Path,
        action="append",
        metavar="FILE",
        help="distilled or style LoRA of Stable Diffusion 1.5 (.safetensors, kohya or diffusers), added in"
        " memory; may be given several times",
    )
    parser.add_argument(
        "--lora-scale", type=float, default=1.0, metavar="X", help="weight of each --lora (default 1)"
    )


def _add_sampler_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default=DEFAULT_PRESET,
        help="settings that belong together, of both passes; single options below win (default default)",
    )
    for name, kind, text in SAMPLER_OPTIONS:
        parser.add_argument(
            flag_of(name), type=kind, help=f"{text} (default: the preset's)" if name != "seed" else text
        )


def _add_engine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--attention",
        choices=ATTENTION,
        default="auto",
        help="attention kernel of a GPU; sage is a quick approximation (default auto: the fastest exact one)",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the networks: faster after some minutes, for clips of more than about 1,000 frames",
    )


def _add_state_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "state", "a render that was stopped, however it was, goes on where it stopped by the same command"
    )
    group.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="where the render is kept until it is finished (default: beside --out, ending in .render)",
    )
    group.add_argument("--start-over", action="store_true", help="forget a render that was stopped")
    group.add_argument("--keep-state", action="store_true", help="do not remove the folder at the end")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="make nothing, and say how much memory it would take and what would make it fit",
    )


def engine_from(args: argparse.Namespace, device: torch.device) -> Engine:
    """How the networks are computed on a device."""
    from ..sgdm.engine import Engine

    return Engine(args.attention, channels_last=device.type == "cuda", compile=args.compile)


def settings_from(args: argparse.Namespace, anchor: Anchor) -> SamplerSettings:
    """The settings of the body pass: the anchor's, changed by the preset, changed by single options."""
    from ..anchor.use import sampler_settings
    from ..sampling.presets import preset_overrides

    preset = preset_overrides(args.preset, anchor.card, distilled=bool(args.lora))
    given = {name: value for name, _, _ in SAMPLER_OPTIONS if (value := getattr(args, name)) is not None}
    return sampler_settings(anchor.card, **preset | given)


def anchor_with_parts(args: argparse.Namespace) -> Anchor:
    """The anchor with base parts from the files that the options name, and with what --lora adds."""
    from ..anchor.base_parts import load_null_appearance, load_vae, load_vision
    from ..anchor.public_lora import add_public_lora

    anchor = anchor_from(args.anchor, args.base)
    if args.vae:
        anchor.vae = load_vae(args.vae)
    if args.clip_vision:
        anchor.vision = load_vision(args.clip_vision)
    if args.text_encoder:
        anchor.null_appearance = load_null_appearance(args.text_encoder)
    for path in getattr(args, "lora", None) or ():
        add_public_lora(anchor, path, args.lora_scale)
    return anchor


def facts_from(args: argparse.Namespace, anchor: Anchor) -> dict[str, Any]:
    """What made a video besides the settings of both passes: travels in it."""
    facts = {"anchor": anchor.card.name, "motion": args.motion.name, "start": args.start}
    facts["preset"] = args.preset
    if args.lora:
        from ..evaluation.weights import sha256_of

        facts["lora"] = {path.name: sha256_of(path)[:16] for path in args.lora}
        facts["lora_scale"] = args.lora_scale
    return facts
