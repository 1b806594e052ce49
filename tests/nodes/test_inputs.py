"""What the nodes make of the values that a graph brings, without a host."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from .stand_in_host import PACK


def _module(name: str) -> Any:
    return sys.modules[f"{PACK}.nodes.{name}"]


@pytest.fixture
def error(nodes: Any) -> type[Exception]:
    """The pack's own error type: under the host the core has another name."""
    found: type[Exception] = sys.modules[f"{PACK}.anchor_core.errors"].AnchorError
    return found


@pytest.fixture
def anchor(nodes: Any) -> Any:
    """A loaded anchor without networks: 64 x 96 pixels, tokens 16 wide."""
    from anchor_core.anchor.card import AnchorCard

    body = SimpleNamespace(pose_stride=8, appearance_width=16, latent_channels=4)
    parts = SimpleNamespace(card=AnchorCard("ada", resolution=(64, 96)), null_appearance=torch.ones(1, 5, 16))
    return _module("_anchor").LoadedAnchor(parts, body, None, torch.float32, None, True, (0.5, 2.0))


def test_pose_frames_of_the_anchors_size_pass(anchor: Any) -> None:
    anchor.check_pose(torch.zeros(2, 96, 64, 3))


@pytest.mark.parametrize(
    ("height", "width", "words"), [(64, 96, "was trained at 64 x 96"), (90, 64, "no multiple of 8")]
)
def test_pose_frames_of_another_size_are_refused(
    anchor: Any, error: type[Exception], height: int, width: int, words: str
) -> None:
    with pytest.raises(error, match=words):
        anchor.check_pose(torch.zeros(2, height, width, 3))


def test_tokens_of_another_width_are_refused(anchor: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="tokens 8 wide and the anchor 'ada' needs 16"):
        anchor.tokens_of([[torch.zeros(1, 5, 8), {}]], "positive")
    with pytest.raises(error, match="positive holds no conditioning"):
        anchor.tokens_of([], "positive")


def test_the_null_is_the_anchors_own_or_the_first_tokens_of_a_prompt(anchor: Any) -> None:
    assert anchor.null_of(None, 5).shape == anchor.null_of([], 5).shape == (1, 5, 16)
    prompt = torch.arange(77 * 16.0).reshape(1, 77, 16)
    assert torch.equal(anchor.null_of([[prompt, {}]], 5), prompt[:, :5])


def test_latents_leave_in_the_scale_of_the_vae(anchor: Any) -> None:
    assert torch.equal(anchor.unscaled(torch.full((1,), 3.0)), torch.full((1,), 2.0))


def _settings(**changes: Any) -> Any:
    from anchor_core.anchor.card import AnchorCard

    card = AnchorCard("ada", steps=9, guidance_scale=1.5, condition_scale=1.2, window_size=12, overlap=5)
    unset = {"steps": 0, "cfg": -1.0, "condition_scale": -1.0, "window_size": 0, "overlap": -1, "seed": 3}
    given = {**unset, "scheduler": "as the anchor says", **changes}
    return _module("_sampling").settings_from(card, **given)


def test_unset_widgets_take_the_values_of_the_card(nodes: Any) -> None:
    made = _settings()
    assert (made.steps, made.guidance_scale, made.condition_scale) == (9, 1.5, 1.2)
    assert (made.window_size, made.overlap, made.scheduler, made.seed) == (12, 5, "ddim", 3)


def test_set_widgets_win_and_zero_is_a_value_where_it_means_something(nodes: Any) -> None:
    made = _settings(steps=4, cfg=0.0, condition_scale=0.0, overlap=0, scheduler="unipc")
    assert (made.steps, made.guidance_scale, made.condition_scale) == (4, 0.0, 0.0)
    assert (made.overlap, made.scheduler) == (0, "unipc")


def test_the_anchors_overlap_never_exceeds_half_of_a_smaller_window(nodes: Any) -> None:
    assert _settings(window_size=4).overlap == 2
    assert _settings(window_size=1).overlap == 0


@pytest.mark.parametrize(
    ("window_size", "overlap", "refused"),
    [(16, 4, False), (16, 16, True), (0, -1, False), (None, 99, False), (5000, 4, True), (-1, -1, True)],
)
def test_windows_are_checked_before_anything_runs(
    nodes: Any, window_size: int | None, overlap: int | None, refused: bool
) -> None:
    for name in ("OverlappedTemporalSampler", "AnchorWindowPlan", "FaceSGDMInpaint"):
        answer = getattr(nodes, name).validate_inputs(window_size, overlap)
        assert (answer is not True) is refused


def test_depth_is_shown_near_white_and_empty_black(nodes: Any) -> None:
    nearness = _module("render_smplx_mesh").nearness
    grey = nearness(torch.tensor([[[0.0, 2.0, 4.0]]]))
    assert grey.shape == (1, 1, 3, 3)
    assert grey[0, 0, :, 0].tolist() == pytest.approx([0.0, 1.0, 0.2])
    assert float(nearness(torch.zeros(1, 2, 2)).max()) == 0


def test_one_side_alone_is_refused(nodes: Any, error: type[Exception], anchor: Any) -> None:
    size = _module("render_smplx_mesh")._size
    assert size(0, 0, None) is None
    assert size(0, 0, anchor) == (64, 96)
    assert size(32, 48, anchor) == (32, 48)
    with pytest.raises(error, match="give both in pixels, or 0 for both"):
        size(32, 0, None)


def test_only_motions_in_the_input_folder_can_be_opened(
    nodes: Any, error: type[Exception], base: Path
) -> None:
    folders = _module("_folders")
    (base / "secret.npy").write_bytes(b"x")
    (base / "input" / "talks").mkdir()
    for name in ("b.npy", "talks/a.pkl", "picture.png"):
        (base / "input" / name).write_bytes(b"x")
    assert folders.motion_names() == ["demo motion", "b.npy", "talks/a.pkl"]
    assert folders.motion_path("talks/a.pkl") == base / "input" / "talks" / "a.pkl"
    for name in ("../secret.npy", str(base / "secret.npy"), "picture.png"):
        with pytest.raises(error, match="there is no motion"):
            folders.motion_path(name)


def test_anchors_are_the_demo_files_and_published_folders(
    nodes: Any, error: type[Exception], base: Path
) -> None:
    folders = _module("_folders")
    anchors = base / "models" / "anchors"
    (anchors / "eva" / "body" / "unet").mkdir(parents=True)
    (anchors / "eva" / "body" / "unet" / "weights.safetensors").write_bytes(b"x")
    (anchors / "zoe.safetensors").write_bytes(b"x")
    (anchors / "team" / "kim" / "unet").mkdir(parents=True)
    assert folders.anchor_names() == ["demo", "zoe.safetensors", "eva", "team/kim"]
    assert folders.anchor_path("team/kim") == anchors / "team" / "kim"
    assert folders.anchor_path("eva") == anchors / "eva"
    assert folders.anchor_path("zoe.safetensors") == anchors / "zoe.safetensors"
    with pytest.raises(error, match=r"there is no anchor '\.\./x'"):
        folders.anchor_path("../x")


def test_our_folders_keep_what_the_user_has_configured(nodes: Any, base: Path) -> None:
    folders = sys.modules["folder_paths"]
    folders.folder_names_and_paths["anchors"][0].append(str(base / "elsewhere"))
    _module("_folders").register_model_folders()
    paths, suffixes = folders.folder_names_and_paths["anchors"]
    assert paths == [str(base / "models" / "anchors"), str(base / "elsewhere")]
    assert suffixes == {".safetensors"}
