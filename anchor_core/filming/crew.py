"""Who makes the frames of a film: networks, tokens and the VAE, of an anchor file or of a host."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from ..anchor.card import AnchorCard
from ..anchor.file import Anchor
from ..anchor.use import Stage, appearance_tokens, face_card
from ..errors import AnchorError
from ..face.checks import check_face_network
from ..face.codec import LatentCodec, Posterior, codec_of
from ..face.passes import face_of
from ..sampling.conditioning import Conditioning, Network
from ..sampling.room import Work, fitting, free_on, proposal
from ..sampling.settings import Memory, SamplerSettings
from ..sgdm.engine import Engine, tune
from ..sgdm.network import SGDM
from .fingerprint import fingerprint

Tokens = tuple[torch.Tensor, "torch.Tensor | None"]
"""Of the reference picture and of the unconditional pass, (1, T, D) each."""
Identity = dict[str, dict[str, Any]]
"""JSON values by name, in the groups of `folder.opened_folder`."""
_POSE_GIB_ON_CPU = 1 / 32  # 300 frames of the demo; longer clips take 3 to 10 % more time instead


class Crew(Protocol):
    """What a film needs besides its scene. Each call may move networks between devices."""

    @property
    def card(self) -> AnchorCard:
        """The card of the anchor."""

    @property
    def on_accelerator(self) -> bool:
        """Whether the networks leave the processor free: meshes are drawn beside them then."""

    def check(self, face: bool) -> None:
        """Raise AnchorError where a part is missing, of the face pass too if `face`: before work of hours."""

    def identity(self, face: bool) -> Identity:
        """What else than the scene and the settings the frames depend on."""

    def tokens(self, stage: Stage, settings: SamplerSettings) -> Tokens:
        """Tokens of a stage; AnchorError where its settings need null tokens and there are none."""

    def network(
        self, stage: Stage, settings: SamplerSettings, conditioning: Conditioning
    ) -> tuple[Network, dict[str, Any]]:
        """The network of a stage, and the keywords of `sample` that say where it works.

        Those are device, dtype, memory, others.
        """

    def codec(self, stage: Stage, posterior: Posterior = "mode") -> LatentCodec:
        """Between pictures and latents, both on the CPU."""


@dataclass(frozen=True)
class Runtime:
    """Where the networks run, in which numbers, how they are computed, and what they may take there.

    memory: None for what is usual on the device.
    """

    device: torch.device
    dtype: torch.dtype
    engine: Engine = field(default_factory=Engine)
    memory: Memory | None = None

    @property
    def room(self) -> Memory:
        """What may be taken: on the CPU less for pose features, whose memory is that of the whole program."""
        usual = Memory() if self.device.type != "cpu" else Memory(pose_gib=_POSE_GIB_ON_CPU)
        return self.memory or usual

    @property
    def device_name(self) -> str:
        """Of the kind of device."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type


class AnchorCrew:
    """The parts of an anchor file.

    appearance: (H, W, 3) uint8 reference picture, or None for the one inside the file; face_appearance: the
    same of the aligned face.
    """

    def __init__(
        self,
        anchor: Anchor,
        runtime: Runtime,
        appearance: np.ndarray | None = None,
        face_appearance: np.ndarray | None = None,
    ) -> None:
        self._anchor, self._runtime = anchor, runtime
        self._pictures: dict[Stage, np.ndarray | None] = {"body": appearance, "face": face_appearance}

    @property
    def card(self) -> AnchorCard:
        """See Crew."""
        return self._anchor.card

    @property
    def on_accelerator(self) -> bool:
        """See Crew."""
        return self._runtime.device.type != "cpu"

    def check(self, face: bool) -> None:
        """See Crew."""
        anchor, name = self._anchor, self._anchor.card.name
        if anchor.body is None:
            raise AnchorError(
                f"the anchor '{name}' holds no body network; one is needed to make a video;"
                " choose an anchor that was trained for the body"
            )
        if anchor.vae is None:
            raise AnchorError(
                f"the anchor '{name}' holds no VAE; one is needed to decode its latents;"
                " pass --vae with an SD1.5 checkpoint or VAE file"
            )
        if not face:
            return
        check_face_network(self._network_of("face"), codec_of(anchor.vae), face_card(anchor.card).crop_size)
        if self._pictures["face"] is None and anchor.face_reference is None:
            raise AnchorError(
                f"the anchor '{name}' holds no reference picture of the face and its face pass needs one;"
                " pass --face-appearance with an aligned crop (`face-crop` cuts one), or --face off"
            )

    def identity(self, face: bool) -> Identity:
        """See Crew."""
        anchor, runtime = self._anchor, self._runtime
        networks = (anchor.body, anchor.vae, anchor.vision)
        contents = {
            "anchor": fingerprint(anchor.card, *networks, anchor.null_appearance),
            "reference picture": self._picture_name("body", anchor.reference),
        }
        if face:
            contents["face network"] = fingerprint(anchor.face)
            contents["reference picture of the face"] = self._picture_name("face", anchor.face_reference)
        made_with = {"device": runtime.device_name, "precision": str(runtime.dtype).removeprefix("torch.")}
        return {"made_with": made_with, "contents": contents, "settings": {"engine": asdict(runtime.engine)}}

    def tokens(self, stage: Stage, settings: SamplerSettings) -> Tokens:
        """See Crew."""
        anchor = self._anchor
        appearance, null = appearance_tokens(anchor, self._pictures[stage], self._runtime.device, stage)
        if settings.guided and null is None:
            flag = "--guidance-scale" if stage == "body" else "--face-guidance-scale"
            raise AnchorError(
                f"the guidance scale of the {stage} pass is {settings.guidance_scale:g} and the anchor"
                f" '{anchor.card.name}' holds no null tokens, which values above 1 need; pass --text-encoder"
                f" with an SD1.5 checkpoint, or {flag} 1"
            )
        return appearance, null

    def network(
        self, stage: Stage, settings: SamplerSettings, conditioning: Conditioning
    ) -> tuple[Network, dict[str, Any]]:
        """See Crew."""
        self._make_room()
        runtime, network = self._runtime, self._network_of(stage)
        network.to(device=runtime.device, dtype=runtime.dtype)
        memory = runtime.room
        if runtime.device.type == "cuda":  # elsewhere nobody can tell what will be free
            memory = self._fitting(self.work(stage, settings, conditioning.n_frames), network)
        return tune(network, runtime.engine), {
            "device": runtime.device,
            "dtype": runtime.dtype,
            "memory": memory,
        }

    def work(self, stage: Stage, settings: SamplerSettings, n_frames: int) -> Work:
        """The denoising of a stage, to estimate what it takes."""
        crop, size = face_card(self.card).crop_size, self.card.resolution
        shape = size if stage == "body" else (crop, crop)
        vae = self._anchor.vae
        return Work.of(self._network_of(stage), settings, shape, n_frames, self._runtime.dtype, vae)

    def codec(self, stage: Stage, posterior: Posterior = "mode") -> LatentCodec:
        """See Crew."""
        self._make_room()
        vae = self._anchor.vae
        # torch's own `to`: the one of diffusers warns about an empty list of modules
        torch.nn.Module.to(vae, device=self._runtime.device, dtype=self._runtime.dtype)
        return codec_of(vae, posterior)

    def _make_room(self) -> None:
        """No network lies on the device that is not at work."""
        for part in (self._anchor.body, self._anchor.face, self._anchor.vision):
            if part is not None and self.on_accelerator:
                torch.nn.Module.to(part, device="cpu")

    def _fitting(self, work: Work, network: SGDM) -> Memory:
        """The choices with which it fits beside what others have on the device."""
        runtime = self._runtime
        free, where = free_on(runtime.device)
        own = (*network.parameters(), *self._anchor.vae.parameters())
        free += sum(weight.nbytes for weight in own if weight.device.type == "cuda")
        memory = fitting(work, free, runtime.room)
        if memory is None:
            raise AnchorError(
                f"{where} has {free / 2**30:.1f} GiB for windows of {work.settings.window_size} frames, which"
                f" do not fit with any saving; {proposal(work, free)}"
            )
        return memory

    def _network_of(self, stage: Stage) -> SGDM:
        network = face_of(self._anchor) if stage == "face" else self._anchor.body
        assert network is not None  # of `check`
        return network.eval()

    def _picture_name(self, stage: Stage, own: torch.Tensor | None) -> str:
        picture = self._pictures[stage]
        return fingerprint(own if picture is None else torch.as_tensor(picture))
