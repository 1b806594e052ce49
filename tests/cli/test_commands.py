"""The smaller commands, the help, and how fast the command line answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from anchor_core.anchor.file import load_anchor
from anchor_core.cli.main import build_parser, main
from anchor_core.files import ASSETS
from anchor_core.motion.read import read_motion

ROOT = Path(__file__).resolve().parent.parent.parent


def test_every_command_explains_itself(capsys: Any) -> None:
    commands = build_parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    for name in commands:
        with pytest.raises(SystemExit) as stopped:
            main([name, "--help"])
        assert stopped.value.code == 0
        assert "--help" in capsys.readouterr().out


def test_the_readme_lists_the_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = build_parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    assert [name for name in commands if f"| `{name}` |" not in readme] == []


def test_help_imports_no_model_library() -> None:
    code = (
        "import sys; from anchor_core.cli.main import build_parser; build_parser();"
        "print([name for name in ('torch', 'diffusers', 'transformers', 'cv2', 'av') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_info_prints_the_card(anchor_file: Path, capsys: Any) -> None:
    assert main(["info", str(anchor_file)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["name"] == "Ada"
    assert facts["parts"] == [
        *("body.unet", "body.controlnet", "vae", "vision"),
        *("null_appearance", "reference"),
    ]


def test_render_writes_the_mesh(motion_file: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "mesh.mp4"
    options = ["--motion", str(motion_file), "--frames", "3", "--size", "96", "96", "--out", str(out)]
    assert main(["render", *options]) == 0
    assert out.stat().st_size > 0
    assert "3 frames at 25 fps, 0.12 s of picture, 0.12 s of sound" in capsys.readouterr().out


def test_a_folder_of_bodies_is_searched(motion_file: Path, tmp_path: Path) -> None:
    (tmp_path / "bodies").mkdir()
    (tmp_path / "bodies" / "SMPLX_NEUTRAL.npz").symlink_to(ASSETS / "standin.npz")
    out = tmp_path / "mesh.mp4"
    options = ["--body", str(tmp_path / "bodies"), "--frames", "1", "--size", "64", "64", "--out", str(out)]
    assert main(["render", "--motion", str(motion_file), *options]) == 0


def test_save_motion_keeps_the_motion(motion_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "part.npz"
    assert (
        main(
            ["save-motion", "--motion", str(motion_file), "--start", "2", "--frames", "5", "--out", str(out)]
        )
        == 0
    )
    whole, part = read_motion(motion_file), read_motion(out)
    assert (part.pose == whole.pose[2:7]).all()
    assert part.sound is not None
    assert whole.sound is not None
    assert (part.sound.waveform == whole.sliced(2, 7).sound.waveform).all()  # type: ignore[union-attr]


def test_plan_draws_a_picture(tmp_path: Path) -> None:
    out = tmp_path / "windows.png"
    assert main(["plan", "--frames", "48", "--out", str(out)]) == 0
    assert Image.open(out).width > 300


def test_too_little_memory_is_one_sentence(
    motion_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr("anchor_core.render.motion.render_chunks", fail)
    assert main(["render", "--motion", str(motion_file), "--out", str(tmp_path / "mesh.mp4")]) == 1
    assert "error: the memory is too small for this; use fewer --frames" in capsys.readouterr().err


def test_a_name_that_the_terminal_cannot_show(tmp_path: Path) -> None:
    name = os.fsdecode(b"bad\xff.png")
    command = [sys.executable, "-m", "anchor_core", "plan", "--frames", "8", "--out", str(tmp_path / name)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"bad\\udcff.png" in done.stdout


def test_plan_refuses_what_is_no_picture(tmp_path: Path, capsys: Any) -> None:
    assert main(["plan", "--frames", "48", "--out", str(tmp_path / "windows.txt")]) == 1
    assert "give a name that ends in .png" in capsys.readouterr().err


def test_convert_makes_one_file(goldens: Path, tmp_path: Path) -> None:
    folder = tmp_path / "person" / "body"
    folder.mkdir(parents=True)
    for part in ("unet", "controlnet"):
        (folder / part).symlink_to(goldens / "models" / "tiny4" / part)
    out = tmp_path / "person.safetensors"
    assert main(["convert", str(folder.parent), "--licence", "test only", "--out", str(out)]) == 0
    card = load_anchor(out).card
    assert (card.name, card.licence, card.fidelity) == ("person", "test only", "reference")


def test_a_missing_anchor_says_what_to_do(motion_file: Path, capsys: Any) -> None:
    assert main(["generate", "--anchor", "nobody.safetensors", "--motion", str(motion_file)]) == 1
    assert "there is no anchor at nobody.safetensors; give a file" in capsys.readouterr().err
