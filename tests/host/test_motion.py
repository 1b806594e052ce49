"""Motion in a real ComfyUI: the shipped workflows from file to video, with sound that stays in time."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import Edit, editor, prompt_of
from .server import ROOT, HostServer

WORKFLOWS = ("speech_to_anchor", "mocap_to_anchor", "driving_video_to_anchor")
N_FRAMES = 12
Prompt = dict[str, Any]


def _nodes(prompt: Prompt, kind: str) -> list[str]:
    return [name for name, node in prompt.items() if node["class_type"] == kind]


@pytest.fixture(scope="module", params=WORKFLOWS)
def short(request: pytest.FixtureRequest, host: HostServer) -> Prompt:
    """A shipped workflow as a prompt, shortened to a few frames and steps."""
    prompt = prompt_of(host, ROOT / "workflows" / f"{request.param}.json")
    for name in _nodes(prompt, "LoadSMPLXMotion"):
        prompt[name]["inputs"]["n_frames"] = N_FRAMES
    for kind in ("OverlappedTemporalSampler", "FaceSGDMInpaint"):
        for name in _nodes(prompt, kind):
            prompt[name]["inputs"]["steps"] = 1
    return prompt


@pytest.fixture(scope="module")
def entry(host: HostServer, short: Prompt) -> dict[str, Any]:
    """The history entry of its run."""
    finished = host.run(short)
    assert finished["status"]["status_str"] == "success", finished["status"]["messages"][-1]
    return finished


def _lengths(path: Path) -> tuple[int, float, float]:
    """Number of frames, seconds of picture and of sound."""
    import av

    with av.open(str(path)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        rate, frames = picture.average_rate, sum(1 for _ in container.decode(picture))
        container.seek(0)
        samples = sum(frame.samples for frame in container.decode(sound))
        return frames, float(frames / rate), samples / sound.rate


def test_the_video_has_the_sound_of_its_motion(
    host: HostServer, short: Prompt, entry: dict[str, Any]
) -> None:
    saved = entry["outputs"][_nodes(short, "SaveVideo")[0]]["images"][0]
    frames, picture_s, sound_s = _lengths(host.base / "output" / saved["subfolder"] / saved["filename"])
    assert frames >= N_FRAMES
    assert abs(picture_s - sound_s) < 0.1, "AAC pads its last block, no more"


def test_the_preview_plays_in_the_node(host: HostServer, short: Prompt, entry: dict[str, Any]) -> None:
    shown = entry["outputs"][_nodes(short, "PreviewSMPLXMotion")[0]]
    assert shown["animated"] == [True]
    clip = shown["images"][0]
    frames, picture_s, sound_s = _lengths(host.base / clip["type"] / clip["subfolder"] / clip["filename"])
    assert frames >= N_FRAMES // 2
    assert abs(picture_s - sound_s) < 0.1


def test_report_and_pictures_are_made(host: HostServer, short: Prompt, entry: dict[str, Any]) -> None:
    report = entry["outputs"][_nodes(short, "PreviewAny")[0]]["text"][0]
    assert len(report) > 20
    for name in _nodes(short, "PreviewImage"):
        assert [picture.stat().st_size > 2000 for picture in host.shown(entry, name)] == [True]


@pytest.fixture(scope="module")
def brought(host: HostServer) -> Path:
    """A motion of TalkSHOW and speech for it, in the input folder."""
    rng = np.random.default_rng(3)
    steps = rng.normal(size=(60, 265)).astype(np.float32) * 0.01
    np.save(host.base / "input" / "talk.npy", steps.cumsum(0))
    tone = (np.sin(np.arange(5 * 16000) * 0.2) * 8000).astype(np.int16)
    with wave.open(str(host.base / "input" / "talk.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(tone.tobytes())
    return host.base / "input"


@pytest.fixture(scope="module")
def talk(host: HostServer, brought: Path) -> Edit:
    """A motion of the user's with its speech, previewed."""
    return editor(
        {
            "1": {"class_type": "LoadAudio", "inputs": {"audio": "talk.wav"}},
            "2": {
                "class_type": "LoadSMPLXMotion",
                "inputs": {
                    "motion": "talk.npy",
                    "start_frame": 10,
                    "n_frames": 40,
                    "sample": 0,
                    "audio": ["1", 0],
                },
            },
            "3": {
                "class_type": "PreviewSMPLXMotion",
                "inputs": {
                    "motion": ["2", 0],
                    "images_fps": 0.0,
                    "size": 96,
                    "every": 1,
                    "body": "stand-in",
                },
            },
            "4": {"class_type": "PreviewAny", "inputs": {"source": ["2", 4]}},
        }
    )


def test_speech_that_is_too_long_is_cut_with_the_frames(host: HostServer, talk: Edit) -> None:
    entry = host.run(talk())
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
    clip = entry["outputs"]["3"]["images"][0]
    frames, picture_s, sound_s = _lengths(host.base / clip["type"] / clip["subfolder"] / clip["filename"])
    assert frames == 40
    assert abs(sound_s - picture_s) < 0.1
    words = entry["outputs"]["4"]["text"][0]
    assert "TalkSHOW: 40 frames at 30 fps" in words
    assert "sound: 16000 Hz" in words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"2.start_frame": 400}, "start_frame is 400"),
        ({"2.motion": "talk.wav"}, "talk.wav"),
        ({"2.person": "2"}, "person"),
        ({"2.sample": 4}, "sample"),
    ],
)
def test_a_bad_choice_gets_one_sentence(
    host: HostServer, talk: Edit, changes: dict[str, Any], words: str
) -> None:
    complaint = host.complaint(talk(changes))
    assert words in complaint
    assert len(complaint) < 800
    assert "Traceback" not in complaint


def test_the_hosts_own_poses_are_offered_only_where_it_has_them(host: HostServer) -> None:
    info = host.get("/object_info")
    assert ("SMPLXMotionFromPose" in info) == ("SAM3DBody_Predict" in info)
