"""The list of jobs: strict, checked before anything starts; what is wrong is named with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anchor_core.cli.options import DEMO_ANCHOR, DEMO_MOTION
from anchor_core.errors import AnchorError
from anchor_core.farm.jobs import read_jobs

GOOD = {"anchor": str(DEMO_ANCHOR), "motion": str(DEMO_MOTION), "out": "a.mp4"}


def write(folder: Path, *jobs: Any) -> Path:
    lines = [job if isinstance(job, str) else json.dumps(job) for job in jobs]
    path = folder / "jobs.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_options_of_any_kind_and_paths_from_the_folder(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "voice.wav").touch()
    for name in ("next.npz", "a", "b"):
        (tmp_path / name).touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    more = {"audio": "voice.wav", "audio-offset": -0.5, "guidance_scale": 2, "mirror": True, "silent": False}
    jobs = read_jobs(
        write(
            tmp_path,
            {**GOOD, **more, "join": ["next.npz"], "person": 1, "lora": ["a", "b"]},
            "",
            {**GOOD, "out": "b.mp4"},
        )
    )
    options = jobs[0].options
    assert [job.line for job in jobs] == [1, 3]
    assert options.out == tmp_path / "a.mp4"
    assert options.audio == tmp_path / "voice.wav"
    assert options.join == [tmp_path / "next.npz"]
    assert options.lora == [tmp_path / "a", tmp_path / "b"]
    assert (options.audio_offset, options.guidance_scale, options.person) == (-0.5, 2.0, "1")
    assert options.mirror
    assert not options.silent
    assert {Path(entry[0]).name for entry in jobs[0].inputs} == {
        *(DEMO_ANCHOR.name, DEMO_MOTION.name, "voice.wav", "next.npz", "a", "b"),
    }


def test_a_job_starts_over_once(tmp_path: Path) -> None:
    job = read_jobs(write(tmp_path, {**GOOD, "start_over": True}))[0]
    assert job.options.start_over
    assert not job.going_on.options.start_over
    assert job.going_on.out == job.out


def test_a_changed_input_is_another_job(tmp_path: Path) -> None:
    (tmp_path / "voice.wav").write_bytes(b"1")
    path = write(tmp_path, {**GOOD, "audio": "voice.wav"})
    before = read_jobs(path)[0].identity
    assert before == read_jobs(path)[0].identity == json.loads(json.dumps(before))
    (tmp_path / "voice.wav").write_bytes(b"12")
    assert read_jobs(path)[0].identity != before


BAD = [
    ({**GOOD, "stepps": 3}, r"line 2: 'stepps' is no option of generate; did you mean 'steps'\?"),
    ({**GOOD, "help": True}, r"line 2: 'help' is no option of generate"),
    ({**GOOD, "motion": "gone.npz"}, r"line 2: motion is .*gone\.npz, which is not there; correct the path"),
    ({**GOOD, "out": "./first.mp4"}, r"line 2: .*first\.mp4 is written by line 1 as well"),
    ({**GOOD, "out": "first.mov"}, r"line 2: Videos are written as \.mp4, not as 'first\.mov'"),
    ({"anchor": str(DEMO_ANCHOR), "out": "a.mp4"}, r"line 2: the following arguments are required: --motion"),
    ({"anchor": str(DEMO_ANCHOR)}, r"line 2: there is no 'out'; each job needs a video of its own"),
    ({**GOOD, "steps": "many"}, r"line 2: argument --steps: invalid int value: 'many'; correct the line"),
    ({**GOOD, "steps": 2.5}, r"line 2: argument --steps: invalid int value: '2.5'"),
    ({**GOOD, "steps": True}, r"line 2: steps is True; need a number"),
    ({**GOOD, "steps": None}, r"line 2: steps is None; need a number"),
    ({**GOOD, "mirror": "yes"}, r"line 2: mirror is 'yes'; need true or false"),
    ({**GOOD, "lora": "b.safetensors"}, r"line 2: lora is 'b.safetensors'; need a list in brackets"),
    ({**GOOD, "join": "b.npz"}, r"line 2: join is 'b.npz'; need a list in brackets"),
    ({**GOOD, "vae": 3}, r"line 2: vae is 3; need a path in quotes"),
    ({**GOOD, "face": "maybe"}, r"line 2: argument --face: invalid choice: 'maybe'"),
    ({**GOOD, "appearance": "first.png"}, r"line 2: .*first\.png is what line 1 makes"),
    ({**GOOD, "audio-offset": 1, "audio_offset": 2}, r"line 2: 'audio_offset' is given twice; remove one"),
    ({**GOOD, "audio": "first.mp4"}, r"line 2: .*first\.mp4 is what line 1 makes"),
    ({**GOOD, "state": "first.render"}, r"line 2: .*first\.render is written by line 1 as well"),
    ("{'anchor': 1}", r"line 2: this is no JSON"),
    ("[1, 2]", r"line 2: this is '\[1, 2\]'; need an object of options in braces"),
]


@pytest.mark.parametrize(("job", "message"), BAD, ids=lambda value: None if isinstance(value, dict) else "")
def test_bad_lines_are_named(job: Any, message: str, tmp_path: Path) -> None:
    if "what line 1 makes" in message:
        (tmp_path / job.get("audio", "first.png")).touch()  # left by an earlier start
    with pytest.raises(AnchorError, match=r"jobs\.jsonl " + message):
        read_jobs(write(tmp_path, {**GOOD, "out": "first.mp4"}, job))


def test_a_list_as_windows_writes_it(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, {**GOOD, "out": "b.mp4"})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert [job.out.name for job in read_jobs(path)] == ["a.mp4", "b.mp4"]


def test_lists_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=r"jobs\.jsonl holds no job; write one a line"):
        read_jobs(write(tmp_path, "", "  "))
    with pytest.raises(AnchorError, match=r"gone\.jsonl cannot be read as a list of jobs"):
        read_jobs(tmp_path / "gone.jsonl")
