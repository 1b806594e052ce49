"""The host's networks, VAE and tokens, as the renderer of whole films asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..anchor_core.errors import AnchorError
from ..anchor_core.face.checks import check_face_network
from ..anchor_core.filming.fingerprint import fingerprint
from . import _host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..anchor_core.anchor.card import AnchorCard
    from ..anchor_core.anchor.use import Stage
    from ..anchor_core.face.codec import LatentCodec, Posterior
    from ..anchor_core.filming.crew import Identity, Tokens
    from ..anchor_core.sampling.conditioning import Conditioning
    from ..anchor_core.sampling.settings import SamplerSettings
    from ._anchor import LoadedAnchor


class HostCrew:
    """A `Crew` whose networks ComfyUI places and frees. tokens: of the stages that are run."""

    def __init__(self, loaded: LoadedAnchor, tokens: Mapping[Stage, Tokens]) -> None:
        self._loaded, self._tokens = loaded, tokens

    @property
    def card(self) -> AnchorCard:
        """See Crew."""
        return self._loaded.card

    @property
    def on_accelerator(self) -> bool:
        """See Crew."""
        return self._loaded.patcher.load_device.type != "cpu"

    def check(self, face: bool) -> None:
        """See Crew."""
        from ..anchor_core.anchor.use import face_card

        if face:
            size = face_card(self.card).crop_size
            check_face_network(self._loaded.network("face"), self._loaded.codec(), size)

    def identity(self, face: bool) -> Identity:
        """See Crew."""
        device = self._loaded.patcher.load_device
        contents = {"anchor": fingerprint(self.card, self._loaded.stamp)}
        for stage, tokens in self._tokens.items():
            contents[f"appearance of the {stage}"] = fingerprint(*tokens)
        made_with = {"device": device.type, "precision": self._loaded.precision}
        return {"made_with": made_with, "contents": contents}

    def tokens(self, stage: Stage, settings: SamplerSettings) -> Tokens:
        """See Crew."""
        appearance, null = self._tokens[stage]
        if settings.guided and null is None:
            raise AnchorError(
                f"cfg of the {stage} pass is {settings.guidance_scale:g} and the anchor '{self.card.name}' "
                "has no null tokens, which values above 1 need: put an SD1.5 text encoder into "
                "models/text_encoders, or set cfg to 1"
            )
        return appearance, null

    def network(
        self, stage: Stage, settings: SamplerSettings, conditioning: Conditioning
    ) -> tuple[Any, dict[str, Any]]:
        """See Crew."""
        fidelity = "auto" if stage == "body" else "trained"
        return _host.place_network(self._loaded, stage, settings, conditioning, fidelity)

    def codec(self, stage: Stage, posterior: Posterior = "mode") -> LatentCodec:
        """See Crew. The host's VAE gives the mean of what it encodes, whatever `posterior` says."""
        return self._loaded.codec()
