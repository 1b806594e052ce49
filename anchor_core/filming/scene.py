"""What is filmed, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..anchor.card import AnchorCard
from ..anchor.use import face_card
from ..body.model import BodyModel
from ..face.blend import BlendOptions
from ..face.codec import Posterior
from ..face.track import FaceTrack, TrackOptions
from ..motion.motion import Motion
from ..render.mesh import Backend
from ..sampling.settings import SamplerSettings


@dataclass(frozen=True)
class FacePass:
    """How the faces of a scene are painted anew.

    track: see `face_tracking` for what an anchor wants. posterior: see `codec_of`.
    """

    settings: SamplerSettings
    track: TrackOptions = field(default_factory=TrackOptions)
    blend: BlendOptions = field(default_factory=BlendOptions)
    posterior: Posterior = "mode"

    def facts(self) -> dict[str, Any]:
        """All of it as JSON values."""
        options = {"track": asdict(self.track), "blend": asdict(self.blend), "posterior": self.posterior}
        return {"settings": asdict(self.settings), **options}


@dataclass(frozen=True)
class Scene:
    """What is filmed: which motion, on which body; face: None leaves faces as the body pass makes them."""

    motion: Motion
    body: BodyModel
    backend: Backend = "torch"
    face: FacePass | None = None


@dataclass(frozen=True)
class Film:
    """What was filmed.

    video, sheet: the files. painted: frames whose face was painted anew, None without a face pass. hidden:
    how many faces were left as they are, by reason. seconds: of each stage of this run, by its name; a stage
    that was finished before is not in it. folder: of the state, None where it was removed.
    """

    video: Path
    sheet: Path
    n_frames: int
    fps: float
    painted: int | None
    hidden: dict[str, int]
    seconds: dict[str, float]
    folder: Path | None = None


def face_tracking(card: AnchorCard, smoothing: float | None = None) -> TrackOptions:
    """How the faces of an anchor are found and masked: as in its training. smoothing: frames."""
    own = face_card(card)
    options = TrackOptions(forehead=own.forehead, dilation=own.dilation, mesh=own.mesh)  # type: ignore[arg-type]
    return options if smoothing is None else replace(options, smoothing=smoothing)


def hidden_faces(track: FaceTrack | None) -> dict[str, int]:
    """How many faces are not painted, by reason, in the order of the frames."""
    return dict(Counter(reason for reason in track.hidden if reason)) if track is not None else {}
