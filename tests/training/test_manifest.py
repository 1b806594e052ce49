"""Bad manifests are one sentence that names the line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from anchor_core.errors import AnchorError
from anchor_core.training.data import load_pictures
from anchor_core.training.manifest import read_manifest, read_rgb


def write(folder, entries, sizes=((16, 16),)):
    for index, size in enumerate(sizes):
        Image.fromarray(np.full((size[1], size[0], 3), index, np.uint8)).save(folder / f"{index}.png")
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "manifest.jsonl"


def entry(source=0, target=0, reference=0, **more):
    return {"source": f"{source}.png", "target": f"{target}.png", "reference": f"{reference}.png", **more}


def test_reads_published_lines(tmp_path):
    (sample,) = read_manifest(write(tmp_path, [entry()]))
    assert sample.target == tmp_path / "0.png"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "is empty"),
        ([entry(), "{broken"], "line 2 of .* is no JSON"),
        ([{"source": "0.png", "target": "0.png"}], "line 1 of .* has no 'reference'"),
        (["[1, 2]"], "line 1 of .* has no 'source'"),
        ([entry(target=7)], "line 1 of .* names the target .*7.png, which does not exist"),
        (
            [entry(0, 0, 1, person="ada"), entry(1, 1, 1, person="eve")],
            r"gives ada the reference .*1\.png, which shows eve; a reference shows the person of the target",
        ),
        ([entry(mask="0.png"), entry(1, 1)], r"has a mask for other lines and none for the target .*1\.png"),
        ([entry(mask=3)], "line 1 of .* has 3 as its mask; need a file name"),
        ([entry(perturbed=["0.png"]), entry(1, 1)], r"has 1 perturbed meshes for other lines and 0 for"),
        ([entry(perturbed="0.png")], "line 1 of .* has '0.png' as perturbed; need a list"),
        ([entry(perturbed=["9.png"])], "line 1 of .* names the perturbed mesh .*9.png, which does not exist"),
    ],
)
def test_bad_lines(tmp_path, lines, message):
    with pytest.raises(AnchorError, match=message):
        read_manifest(write(tmp_path, lines, sizes=((16, 16),) * 2))


def test_missing_manifest(tmp_path):
    with pytest.raises(AnchorError, match="there is no dataset"):
        read_manifest(tmp_path / "none.jsonl")


def test_sizes_must_agree(tmp_path):
    path = write(tmp_path, [entry(0, 0), entry(0, 1)], sizes=((16, 16), (24, 16)))
    with pytest.raises(AnchorError, match=r"1.png is 24x16 pixels and .*0.png is 16x16"):
        load_pictures(path)


def test_mesh_must_have_the_size_of_the_frame(tmp_path):
    path = write(tmp_path, [entry(0, 1)], sizes=((16, 16), (24, 16)))
    with pytest.raises(AnchorError, match=r"sources .* 16x16 pixels and the targets 24x16"):
        load_pictures(path)


def test_broken_picture(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(AnchorError, match=r"bad.png cannot be read"):
        read_rgb(tmp_path / "bad.png")


def test_colours_stay_rgb(tmp_path):
    Image.fromarray(np.full((4, 4, 3), (200, 100, 50), np.uint8)).save(tmp_path / "c.png")
    assert read_rgb(tmp_path / "c.png")[0, 0].tolist() == [200, 100, 50]


def test_references_are_kept_once_and_clips_counted(tmp_path):
    lines = [entry(0, 0, 1, clip="a"), entry(1, 1, 1, clip="a"), entry(2, 2, 0, clip="b")]
    pictures = load_pictures(write(tmp_path, lines, sizes=((16, 16),) * 3))
    assert pictures.reference.shape[0] == 2
    assert pictures.reference[pictures.which][:, 0, 0, 0].tolist() == [1, 1, 0]
    assert pictures.clip.tolist() == [0, 0, 1]


def test_encodings(tmp_path):
    path = write(tmp_path, [entry()])
    path.write_text(path.read_text(), encoding="utf-8-sig")  # with the mark that Windows programs write
    assert len(read_manifest(path)) == 1
    path.write_bytes(b'{"clip": "Andr\xe9"}')
    with pytest.raises(AnchorError, match=r"is no text in UTF-8 \(.*save it as such"):
        read_manifest(path)
