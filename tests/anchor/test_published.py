"""The published folder layout, on the tiny models of the golden vectors."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from anchor_core.anchor.file import load_anchor, save_anchor
from anchor_core.anchor.published import load_published
from anchor_core.errors import AnchorError

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def person(goldens: Path, tmp_path: Path) -> Path:
    """`seth/body` and `seth/head`, as the published download lies on a disk."""
    root = tmp_path / "seth"
    shutil.copytree(goldens / "models" / "tiny4", root / "body", copy_function=shutil.copyfile)
    shutil.copytree(goldens / "models" / "face4", root / "head", copy_function=shutil.copyfile)
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755)  # the originals may be read-only
    return root


@pytest.mark.parametrize("name", ["tiny4", "tiny4_bin", "tiny2"])
def test_weights_are_those_of_the_files(goldens: Path, name: str) -> None:
    folder = goldens / "models" / name
    anchor = load_published(folder)
    source = folder if name == "tiny2" else goldens / "models" / "tiny4"
    for part in ("unet", "controlnet"):
        expected = load_file(source / part / WEIGHTS)
        state = getattr(anchor.body, part).state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[key], expected[key]) for key in expected)


@pytest.mark.parametrize(
    ("name", "model"), [("a_window_tiny4_f5", "tiny4_bin"), ("a_window_tiny2_f5", "tiny2")]
)
def test_golden_window_after_conversion(goldens: Path, tmp_path: Path, name: str, model: str) -> None:
    """Published folder -> one file -> loaded again: the prediction of the published code."""
    save_anchor(load_published(goldens / "models" / model), tmp_path / "seth.safetensors", torch.float32)
    sgdm = load_anchor(tmp_path / "seth.safetensors").body
    inputs = load_file(goldens / name / "inputs.safetensors")
    expected = load_file(goldens / name / "outputs.safetensors")["noise_pred"].transpose(1, 2)
    frames = torch.from_numpy(np.load(goldens / name / "pose_frames_uint8.npz")["frames"])
    pose = sgdm.embed_pose(frames.permute(0, 3, 1, 2) / 255)[None]
    latents = inputs["sample"].transpose(1, 2)
    noise = sgdm(latents, inputs["timestep"], inputs["encoder_hidden_states"], pose, 2.0)
    assert (noise - expected).norm() / expected.norm() < 1e-4


def test_body_and_head(person: Path) -> None:
    anchor = load_published(person)
    assert anchor.card.name == "seth"
    assert (anchor.card.condition_scale, anchor.card.null_appearance) == (2.0, "text")
    assert anchor.body is not None
    assert anchor.face is not None
    assert anchor.face.inpaint_channels == 5
    assert load_published(person / "body").card.name == "seth"
    head = load_published(person / "head")
    assert head.body is None
    assert head.face is not None


def test_half_precision(goldens: Path) -> None:
    anchor = load_published(goldens / "models" / "tiny2", torch.float16)
    assert {p.dtype for p in anchor.body.parameters()} == {torch.float16}


def test_safetensors_come_before_the_pickle(person: Path) -> None:
    for path in person.rglob(WEIGHTS):
        path.with_suffix(".bin").write_bytes(b"never opened")
    assert load_published(person).body is not None


def test_unused_layers_of_the_inflated_class_are_dropped(person: Path) -> None:
    path = person / "body" / "controlnet" / WEIGHTS
    extra = {"mid_block.attentions.0.transformer_blocks.0.norm_temp.weight": torch.zeros(32)}
    save_file({**load_file(path), **extra}, str(path))
    assert load_published(person).body is not None
    path = person / "body" / "unet" / WEIGHTS
    save_file({**load_file(path), **extra}, str(path))
    with pytest.raises(AnchorError, match=r"fit the config of body/unet: it has unknown 1 of .*norm_temp"):
        load_published(person)


def test_wrapped_training_checkpoint_is_not_loaded_as_noise(person: Path) -> None:
    """The published loader takes this file and keeps random weights."""
    path = person / "body" / "unet" / WEIGHTS
    save_file({f"module.{key}": value for key, value in load_file(path).items()}, str(path))
    with pytest.raises(AnchorError, match=r"it lacks \d+ of \d+ tensors \(conv_in\.bias, "):
        load_published(person)


def test_networks_of_two_people_do_not_mix(person: Path) -> None:
    config = person / "body" / "unet" / "config.json"
    config.write_text(config.read_text().replace('"cross_attention_dim": 32', '"cross_attention_dim": 40'))
    with pytest.raises(AnchorError, match=r"has the shape \[16, 32\], needed is \[16, 40\]|shape"):
        load_published(person)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code of a stranger ran",)


def test_pickles_run_no_code(person: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = person / "body" / "unet"
    (folder / WEIGHTS).unlink()
    target = folder / "diffusion_pytorch_model.bin"
    torch.save({"conv_in.weight": Evil()}, target)
    cases = [target.read_bytes(), pickle.dumps(Evil(), protocol=2), b"", b"nonsense", b"PK\x03\x04nonsense"]
    for data in cases:
        target.write_bytes(data)
        with pytest.raises(AnchorError, match=r"diffusion_pytorch_model\.bin cannot be read safely"):
            load_published(person)
    torch.save([1, 2], target)
    with pytest.raises(AnchorError, match="holds no named tensors"):
        load_published(person)
    assert "stranger" not in capsys.readouterr().out


def test_messages(person: Path, tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match="There is no folder"):
        load_published(tmp_path / "nobody")
    (tmp_path / "checkpoint-900" / "unet").mkdir(parents=True)
    (tmp_path / "checkpoint-2000").mkdir()
    with pytest.raises(AnchorError, match=r"holds no anchor: .* the last is checkpoint-2000"):
        load_published(tmp_path)
    config = person / "body" / "unet" / "config.json"
    good = config.read_text()
    for text, message in (
        ("{", "not readable JSON"),
        ("[]", "not a JSON object"),
        ("x" * 2**21, "too large"),
    ):
        config.write_text(text)
        with pytest.raises(AnchorError, match=message):
            load_published(person)
    config.write_text(json.dumps({**json.loads(good), "_class_name": "AutoencoderKL"}))
    with pytest.raises(AnchorError, match="describes a AutoencoderKL; a UNet2DConditionModel is needed"):
        load_published(person)
    config.unlink()
    with pytest.raises(AnchorError, match=r"There is no config\.json"):
        load_published(person)
    config.write_text(good)
    (person / "body" / "unet" / WEIGHTS).unlink()
    with pytest.raises(AnchorError, match="There are no weights in"):
        load_published(person)
