"""Presets: what they change, that explicit settings win, and that only distilled weights get few steps."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from anchor_core.anchor.card import AnchorCard
from anchor_core.anchor.face_card import FaceCard
from anchor_core.anchor.use import sampler_settings
from anchor_core.errors import AnchorError
from anchor_core.sampling.presets import PRESETS, preset_overrides
from anchor_core.sampling.sampler import SamplerSettings

PUBLISHED = AnchorCard(name="Seth")
DISTILLED = AnchorCard(name="Seth", scheduler="lcm", steps=6, guidance_scale=1.5)


def settings(name: str, card: AnchorCard = PUBLISHED, stage: Any = "body", **options: Any) -> SamplerSettings:
    return sampler_settings(card, stage, **preset_overrides(name, card, stage, **options))


def test_the_default_is_what_the_card_says() -> None:
    card = replace(PUBLISHED, steps=13, scheduler="unipc", guidance_scale=3.0)
    assert settings("default", card) == sampler_settings(card)


def test_faithful_is_the_published_inference() -> None:
    card = replace(PUBLISHED, scheduler="unipc")
    made = settings("faithful", card)
    assert made == replace(SamplerSettings(), schedule="reference", scheduler="ddim", weighting="flat")
    assert (made.far_keys, made.reuse, made.guidance_start, made.guidance_end) == (1, 1, 0.0, 1.0)


def test_faithful_paints_the_face_frame_by_frame() -> None:
    made = settings("faithful", stage="face")
    assert (made.window_size, made.overlap, made.steps) == (1, 0, FaceCard().steps)


def test_fast_does_less_in_every_way() -> None:
    made, own = settings("fast"), settings("default")
    assert (made.steps, own.steps) == (10, 20)
    assert made.far_keys == 2
    assert sum(map(made.guided_at, range(made.steps))) < made.steps
    assert (made.window_size, made.guidance_scale) == (own.window_size, own.guidance_scale)


@pytest.mark.parametrize(("steps", "fewer"), [(3, 3), (4, 4), (5, 4), (6, 4), (10, 5), (50, 25)])
def test_fast_takes_fewer_steps_but_not_too_few(steps: int, fewer: int) -> None:
    card = replace(PUBLISHED, face=FaceCard(steps=steps))
    made = settings("fast", card, "face")
    assert made.steps == fewer
    assert made.scheduler == ("ddim" if steps == fewer else "dpm++2m")
    assert made.far_keys == 2


def test_an_explicit_option_wins() -> None:
    overrides = preset_overrides("fast", PUBLISHED) | {"steps": 30}
    assert sampler_settings(PUBLISHED, **overrides).steps == 30


@pytest.mark.parametrize("name", PRESETS)
def test_distilled_weights_keep_their_solver(name: str) -> None:
    made = settings(name, DISTILLED)
    assert (made.scheduler, made.steps, made.guidance_scale) == ("lcm", 6, 1.5)


def test_a_distilled_lora_gets_few_steps_without_guidance() -> None:
    made = settings("distilled", distilled=True)
    assert (made.scheduler, made.steps, made.guided) == ("lcm", 4, False)


def test_weights_that_are_not_distilled_are_refused() -> None:
    with pytest.raises(AnchorError, match=r"'Seth' was not distilled to few steps.*--lora"):
        preset_overrides("distilled", PUBLISHED)


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(AnchorError, match="the preset is 'quick': need one of faithful, default, fast"):
        preset_overrides("quick", PUBLISHED)


def test_the_names_cost_no_heavy_import() -> None:
    code = "import sys, anchor_core.sampling.presets; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
