"""Where a training starts: networks that somebody has trained already, or random ones to try things out.

    an anchor file, whole or low-rank       all that it holds
    <person>/{body,head}/{unet,controlnet}  the published layout, or {unet,controlnet} itself
    a folder with checkpoint-<step>/        of the published training: the last one
    Stable Diffusion 1.5, file or folder    U-Net, and a new ControlNet from its encoder; VAE, empty prompt
    "tiny"                                  random networks, a few kilobytes

For the face, Stable Diffusion is the inpainting model; a plain one is widened (`as_face_unet`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..anchor.base_parts import load_null_appearance, load_vae, load_vision
from ..anchor.base_unet import as_face_unet, controlnet_from, is_diffusers_folder, load_base_unet
from ..anchor.card import AnchorCard
from ..anchor.face_card import FaceCard
from ..anchor.file import Anchor, join_networks, load_anchor
from ..anchor.kinds import ANCHOR_KEY
from ..anchor.published import find_stages, load_published
from ..anchor.use import schedule_fields
from ..anchor.weights import PICKLES, read_header
from ..errors import AnchorError
from ..sampling.schedulers import ZERO_TERMINAL_SNR
from ..sgdm.network import build_sgdm
from .job import TrainingJob

if TYPE_CHECKING:
    from ..sgdm.network import SGDM

_TINY: dict[str, Any] = {
    "in_channels": 4,
    "block_out_channels": (16, 32),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": 16,
    "attention_head_dim": 2,
    "norm_num_groups": 8,
}
_TINY_VAE: dict[str, Any] = {
    "block_out_channels": (8, 8, 16, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "mid_block_add_attention": False,
}
_TINY_VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}


@dataclass
class Start:
    """What a training begins with.

    sgdm: of the job's stage, in float32. null: (1, T, D) tokens of no appearance, None for zeros. anchor:
    where the networks come from, without these, for the other stage would take gigabytes to no purpose; its
    card says how they were trained, and those of its parts that are not None go into the result.
    """

    sgdm: SGDM
    vae: Any
    vision: Any
    null: Tensor | None
    anchor: Anchor


def load_start(job: TrainingJob) -> Start:
    """Load everything; raises AnchorError that says which file is missing or of the wrong kind."""
    kind, path = start_kind(job)
    anchor = tiny_anchor(job) if kind == "tiny" else _load(kind, path, job)
    sgdm = getattr(anchor, job.stage)
    if sgdm is None:
        raise AnchorError(
            f"{path} has no {job.stage} network to start from; start the {job.stage} from an anchor that has"
            " one, or from Stable Diffusion 1.5"
        )
    sgdm.fidelity = "trained"  # whatever its inference does, it was trained as it is trained now
    base = path if kind == "base" else None
    vae, vision = _vae(job, anchor, base), _vision(job, anchor, base)
    null = _null(job, anchor, base, vision)
    return Start(sgdm, vae, vision, null, replace(anchor, body=None, face=None))


def start_kind(job: TrainingJob) -> tuple[str, Path]:
    """ "tiny", "anchor", "published" or "base", and the file or folder that it means."""
    path = job.start.networks
    if job.start.is_tiny and not path.exists():
        return "tiny", path
    if path.is_dir():
        if is_diffusers_folder(path):
            return "base", path
        last = _last_checkpoint(path)
        return "published", last or path
    if not path.is_file():
        raise AnchorError(
            f"start.networks is {path}, which does not exist; name an anchor file, a published folder, a"
            ' Stable Diffusion 1.5 file or folder, or "tiny"'
        )
    if path.suffix.lower() in PICKLES:
        return "base", path
    return ("anchor" if ANCHOR_KEY in read_header(path).metadata else "base"), path


def _last_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint of a published training that has not finished."""
    if (folder / "unet").is_dir():
        return None
    steps = {
        int(match[1]): place
        for place in folder.glob("checkpoint-*")
        if (match := re.fullmatch(r"checkpoint-(\d+)", place.name)) and (place / "unet").is_dir()
    }
    return steps[max(steps)] if steps else None


def _load(kind: str, path: Path, job: TrainingJob) -> Anchor:
    if kind == "anchor":
        return load_anchor(path, need=())
    if kind == "published":
        stages = find_stages(path)
        if job.stage not in stages:
            raise AnchorError(
                f"{path} holds the {' and '.join(stages)} of a person and no {job.stage}; name the folder of"
                f" the {job.stage}, or change stage"
            )
        return load_published(path)
    stage: dict[str, Any] = {job.stage: sgdm_from_base(path, job)}
    return Anchor(AnchorCard(name=job.name), **stage)


def sgdm_from_base(path: Path, job: TrainingJob) -> SGDM:
    """U-Net and a new ControlNet from Stable Diffusion 1.5."""
    unet = load_base_unet(path)
    inpaints = unet.config.in_channels != unet.config.out_channels
    if job.stage == "body" and inpaints:
        raise AnchorError(
            f"{path.name} is an inpainting model, and the body has nothing to paint into; start the body from"
            " the plain Stable Diffusion 1.5"
        )
    controlnet = controlnet_from(unet, job.train.seed)
    return join_networks(as_face_unet(unet) if job.stage == "face" else unet, controlnet, "trained")


def _vae(job: TrainingJob, anchor: Anchor, base: Path | None) -> Any:
    given = job.start.vae
    if given is None and anchor.vae is not None:
        return anchor.vae
    if given or base:
        return load_vae(given or base)  # type: ignore[arg-type]
    raise AnchorError(
        f"{job.start.networks} holds no VAE; give one as start.vae: a Stable Diffusion 1.5 checkpoint, or"
        " vae-ft-mse-840000-ema-pruned.safetensors"
    )


def _vision(job: TrainingJob, anchor: Anchor, base: Path | None) -> Any:
    given = job.start.clip_vision
    if given is None and anchor.vision is not None:
        return anchor.vision
    if given is None and base is not None and (base / "image_encoder").is_dir():
        given = base
    if given:
        return load_vision(given)
    raise AnchorError(
        f"{job.start.networks} holds no vision tower; give one as start.clip_vision: model.safetensors of"
        " openai/clip-vit-base-patch32"
    )


def _null(job: TrainingJob, anchor: Anchor, base: Path | None, vision: Any) -> Tensor | None:
    """Tokens of no appearance: stored, or the empty prompt, as many as a picture has; None for zeros."""
    n_tokens = 1 + (int(vision.config.image_size) // int(vision.config.patch_size)) ** 2
    given = job.start.text_encoder
    if given is None and anchor.null_appearance is not None:
        return anchor.null_appearance[:, :n_tokens].float()
    if given or base:
        return load_null_appearance(given or base, n_tokens)  # type: ignore[arg-type]
    if job.train.null_probability:
        raise AnchorError(
            f"train.null_probability is {job.train.null_probability:g} and {job.start.networks} holds no"
            " tokens of no appearance; give start.text_encoder (a Stable Diffusion 1.5 checkpoint), or set it"
            " to 0"
        )
    return None


def tiny_anchor(job: TrainingJob) -> Anchor:
    """Random networks of both kinds; they learn little, and quickly."""
    from diffusers import AutoencoderKL
    from transformers import CLIPVisionConfig, CLIPVisionModel

    wide = 2 * _TINY["in_channels"] + 1 if job.stage == "face" else _TINY["in_channels"]
    up = {"out_channels": 4, "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "in_channels": wide}
    control = {**_TINY, "conditioning_embedding_out_channels": (4, 4, 8, 8)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.train.seed)
        vae = AutoencoderKL(**_TINY_VAE).eval().requires_grad_(False)
        vision = CLIPVisionModel(CLIPVisionConfig(**_TINY_VISION)).eval().requires_grad_(False)
        sgdm = build_sgdm({**_TINY, **up}, control, init_control="half").eval()
    null = torch.zeros(1, 5, _TINY["cross_attention_dim"])
    networks: dict[str, Any] = {job.stage: sgdm, "vae": vae, "vision": vision}
    return Anchor(tiny_card(job.name), **networks, null_appearance=null)


def tiny_card(name: str) -> AnchorCard:
    """Networks from nothing learn v, and want the scales that they were trained with, in both stages."""
    return AnchorCard(
        name,
        **schedule_fields(ZERO_TERMINAL_SNR),
        base="none: random networks",
        fidelity="trained",
        null_appearance="stored",
        guidance_scale=1.0,
        condition_scale=1.0,
        steps=5,
        face=FaceCard(guidance_scale=1.0, steps=5),
    )
