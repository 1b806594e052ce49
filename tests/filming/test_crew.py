"""What an anchor brings to a film."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from anchor_core.anchor.use import sampler_settings
from anchor_core.filming.crew import AnchorCrew, Runtime
from anchor_core.sampling.conditioning import Conditioning
from anchor_core.sampling.settings import Memory

from . import scenes


def test_host_memory_does_not_grow_by_kept_features() -> None:
    """On the CPU their budget is that of the program, and only short clips fit into it."""
    anchor = scenes.tiny_anchor()
    settings = sampler_settings(anchor.card)
    conditioning = Conditioning(torch.zeros(1, 128, 144, 3), torch.zeros(1, 5, 12))
    for given, wanted in ((None, 1 / 32), (Memory(pose_gib=1.0), 1.0)):
        crew = AnchorCrew(anchor, Runtime(torch.device("cpu"), torch.float32, memory=given))
        place = crew.network("body", settings, conditioning)[1]
        assert place["memory"].pose_gib == wanted
    assert Runtime(torch.device("cuda"), torch.float16).room == Memory()


def test_work_is_that_of_the_stage() -> None:
    anchor = scenes.tiny_anchor()
    crew = AnchorCrew(anchor, scenes.CPU)
    body, face = (crew.work(stage, sampler_settings(anchor.card, stage), 7) for stage in ("body", "face"))
    assert (body.size, face.size, body.n_frames) == (scenes.SIZE, (32, 32), 7)
    assert face.unet["in_channels"] == 9


def test_an_anchor_is_told_apart_by_what_the_frames_depend_on() -> None:
    anchor = scenes.tiny_anchor()
    plain, faced = (AnchorCrew(anchor, scenes.CPU).identity(face) for face in (False, True))
    of_face = {"face network", "reference picture of the face"}
    assert set(faced["contents"]) - set(plain["contents"]) == of_face
    assert plain["made_with"] == {"device": "cpu", "precision": "float32"}
    assert plain["settings"]["engine"]["attention"] == "auto"
    with torch.no_grad():
        next(anchor.vision.parameters()).mul_(1.01)
    other = AnchorCrew(replace(anchor, vision=copy.deepcopy(anchor.vision)), scenes.CPU).identity(False)
    assert other["contents"]["anchor"] != plain["contents"]["anchor"]
