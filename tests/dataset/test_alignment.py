"""The alignment of mesh and picture: known shifts, lags and drifts, wrong motions, and pictures of nobody."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from anchor_core.dataset.alignment import AlignmentMeter, grown
from anchor_core.dataset.verdict import Alignment
from anchor_core.errors import AnchorError
from anchor_core.render.mesh import to_bytes
from anchor_core.render.motion import render_motion

FPS = 25.0


def measure(frames: np.ndarray, meshes: np.ndarray, mattes: np.ndarray | None = None) -> Alignment:
    meter = AlignmentMeter((frames.shape[2], frames.shape[1]), FPS)
    for start in range(0, len(frames), 7):
        part = slice(start, start + 7)
        meter.add(frames[part], meshes[part], None if mattes is None else mattes[part])
    return meter.result()


def dots(n_frames: int, seed: int = 0, size: int = 64, rate: float = 1.0) -> np.ndarray:
    """A figure (n, size, size, 3) of one trunk and two hands that wander; rate: how fast its time runs."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_frames) / FPS * rate
    waves = rng.uniform(0.5, 1.6, (4, 3)), rng.uniform(0, 6.28, (4, 3))
    paths = np.sin(6.28 * waves[0][:, :, None] * time + waves[1][:, :, None]).mean(axis=1)  # (4, n)
    y, x = np.mgrid[:size, :size] / size
    out = np.zeros((n_frames, size, size, 3), np.uint8)
    for i in range(n_frames):
        out[i][(abs(x - 0.5) < 0.15) & (y > 0.3)] = 140
        for hand, middle in enumerate((0.3, 0.7)):
            place = middle + 0.15 * paths[2 * hand, i], 0.6 + 0.2 * paths[2 * hand + 1, i]
            out[i][(x - place[0]) ** 2 + (y - place[1]) ** 2 < 0.006] = 220
    return out


def dressed(meshes: np.ndarray, seed: int = 0) -> np.ndarray:
    """Pictures of a figure: a pixel larger than its mesh, in other colours, before a busy wall, in noise."""
    rng = np.random.default_rng(seed)
    wall = np.kron(rng.integers(0, 256, (8, 8)), np.ones((meshes.shape[1] // 8,) * 2))[..., None]
    out = np.empty_like(meshes)
    for i, mesh in enumerate(meshes):
        clothes = 30 + 0.7 * mesh.astype(float)
        seen = np.where(grown(mesh.max(axis=-1) > 8, 1)[..., None], clothes, wall)
        out[i] = np.clip(seen + rng.normal(0, 2, mesh.shape), 0, 255)
    return out


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Pictures and meshes (100, 64, 64, 3) that belong together."""
    meshes = dots(100)
    return dressed(meshes), meshes


def test_rendered_presenter_fits(ada) -> None:
    from anchor_core.body.model import standin_body

    meshes = to_bytes(render_motion(ada.motion, standin_body(), ada.camera).image)
    found = measure(ada.frames, meshes)
    assert found.person_found
    assert found.matched is not False  # twenty frames may be too few to be sure
    assert found.lag == 0
    assert np.abs(found.shift).max() < 0.7
    moved = measure(ada.frames, np.roll(meshes, (9, -4), axis=(2, 1)))
    np.testing.assert_allclose(moved.shift, (-9, 4), atol=0.7)


def test_right_pair_is_good(pair: tuple[np.ndarray, np.ndarray]) -> None:
    found = measure(*pair)
    assert found.good
    assert found.person_found
    assert found.matched
    assert found.lag == 0
    assert np.abs(found.shift).max() < 0.6
    assert found.change_share > 0.95
    assert found.density > 10
    assert found.certainty > 3
    assert found.verdict[0].startswith("Mesh and person belong together: ")


@pytest.mark.parametrize("shift", [(4, 0), (-3, 6), (0, -9)])
def test_known_shift_is_measured(pair: tuple[np.ndarray, np.ndarray], shift: tuple[int, int]) -> None:
    frames, meshes = pair
    moved = np.roll(meshes, shift, axis=(2, 1))
    found = measure(frames, moved)
    # The person lies on the other side of the mesh than the mesh was moved to.
    np.testing.assert_allclose(found.shift, (-shift[0], -shift[1]), atol=0.7)
    assert found.matched
    assert not found.good


def test_sentence_of_a_shift(pair: tuple[np.ndarray, np.ndarray]) -> None:
    frames, meshes = pair
    found = measure(frames, np.roll(meshes, (-3, 6), axis=(2, 1)))
    assert found.verdict == (
        "The person lies 3 px right of and 6 px above the mesh: give the camera that belongs to the video.",
    )


@pytest.mark.parametrize("lag", [-6, -1, 1, 9])
def test_known_lag_is_measured(pair: tuple[np.ndarray, np.ndarray], lag: int) -> None:
    frames, meshes = pair
    late, early = (frames, meshes) if lag < 0 else (meshes, frames)
    late, early = late[abs(lag) :], early[: -abs(lag)]
    found = measure(late, early) if lag < 0 else measure(early, late)
    assert found.lag == lag
    assert found.matched
    side = "video" if lag > 0 else "motion"
    plural = "" if abs(lag) == 1 else "s"
    assert found.verdict[0].endswith(f"cut the first {abs(lag)} frame{plural} off the {side}.")


def test_following_the_advice_mends_the_lag(pair: tuple[np.ndarray, np.ndarray]) -> None:
    frames, meshes = pair
    assert measure(frames[:-4], meshes[4:]).lag == 4  # "cut the first 4 frames off the video"
    assert measure(frames[:-4][4:], meshes[4:][:-4]).good


def test_other_motions_do_not_match(pair: tuple[np.ndarray, np.ndarray]) -> None:
    frames = pair[0]
    for wrong in (dots(100, seed=5), dots(100, seed=6)):
        found = measure(frames, wrong)
        assert found.person_found  # somebody moves there
        assert found.matched is False
        assert "does not move as the motion says" in found.verdict[0]


def test_mirrored_video_is_named(pair: tuple[np.ndarray, np.ndarray]) -> None:
    found = measure(pair[0][:, :, ::-1], pair[1])
    assert found.matched is False
    assert "The picture is mirrored against the motion" in found.verdict[0]


def test_nobody_in_the_picture(pair: tuple[np.ndarray, np.ndarray]) -> None:
    frames, meshes = pair
    rng = np.random.default_rng(0)
    room = np.repeat(frames[:1], len(frames), axis=0)
    grain = np.clip(room + rng.normal(0, 4, room.shape), 0, 255).astype(np.uint8)
    elsewhere = room.copy()
    for i, frame in enumerate(elsewhere):
        frame[2:8, 4 + i // 4 : 12 + i // 4] = 255
    for empty in (grain, elsewhere):
        found = measure(empty, meshes)
        assert not found.person_found
        assert "No person moves where the motion says" in found.verdict[0]
    still = measure(room, meshes)
    assert not still.person_found
    assert "Nothing moves in the 100 frames of the picture" in still.verdict[0]
    assert json.loads(json.dumps(still.to_dict()))["change_share"] is None


def test_mesh_outside_the_picture(pair: tuple[np.ndarray, np.ndarray]) -> None:
    found = measure(pair[0], np.zeros_like(pair[1]))
    assert found.verdict == (
        "The mesh is in no frame of the picture: give the camera that belongs to this video.",
    )


def test_changing_light_and_a_cut_do_no_harm(pair: tuple[np.ndarray, np.ndarray]) -> None:
    frames, meshes = pair
    light = 1 + 0.2 * np.sin(np.arange(100) / 5)[:, None, None, None]
    assert measure(np.clip(frames * light, 0, 255).astype(np.uint8), meshes).good
    flashed = frames.copy()
    flashed[20] = 255
    assert measure(flashed, meshes).good


def test_moving_camera_is_said() -> None:
    mesh = dots(150)
    room = np.random.default_rng(1).integers(0, 256, (90, 90, 3)).astype(np.uint8)
    room = np.repeat(np.repeat(room[::6, ::6], 6, 0), 6, 1)
    frames = mesh.copy()
    for i, frame in enumerate(frames):
        x = round(12 + 10 * np.sin(i / 11))
        seen = room[8:72, x : x + 64]
        frame[mesh[i] == 0] = seen[mesh[i] == 0]
    found = measure(frames, mesh)
    assert found.matched
    assert "the camera or something else in the picture moves" in " ".join(found.verdict)


def test_drifting_rates_are_measured() -> None:
    n = 760  # three blocks
    meshes = dots(n, size=32)
    found = measure(dots(n, size=32, rate=1 / 1.02), meshes)
    # After one minute (1500 frames) the slower picture is 2 % of 1500 frames behind.
    assert found.drift == pytest.approx(30, rel=0.25)
    assert any("The lag grows by +" in sentence for sentence in found.verdict)
    steady = measure(meshes, meshes)
    assert steady.drift == pytest.approx(0, abs=0.5)
    assert steady.good


def test_clips_are_not_compared_across() -> None:
    clips = [(dots(60, seed), dots(60, seed)) for seed in (1, 2)]
    meter = AlignmentMeter((64, 64), FPS)
    for frames, meshes in clips:
        meter.add(frames, meshes)
        meter.break_off()
    assert meter.result().good
    assert meter.result().frames == 120


def test_matte(pair: tuple[np.ndarray, np.ndarray]) -> None:
    frames, meshes = pair
    solid = meshes.max(axis=-1) > 8
    mattes = np.stack([grown(frame, 2) for frame in solid]).astype(np.uint8) * 255
    found = measure(frames, meshes, mattes)
    union = mattes > 0
    assert found.iou == pytest.approx((solid & union).sum() / union.sum(), abs=0.02)
    assert found.good
    assert "The matte is white where the background is" in measure(frames, meshes, 255 - mattes).verdict[0]
    small = np.zeros_like(mattes)
    small[:, 30:45, 25:40] = 255
    assert any("of their area" in sentence for sentence in measure(frames, meshes, small).verdict)


def test_few_frames_are_not_judged(pair: tuple[np.ndarray, np.ndarray]) -> None:
    frames, meshes = pair
    found = measure(frames[:3], meshes[:3])
    assert found.matched is None
    assert "3 frames are too few to tell whether motion and video belong together" in found.verdict[0]
    assert measure(frames[:1], meshes[:1]).person_found is False


def test_examples_are_few_and_of_different_times() -> None:
    meter = AlignmentMeter((64, 64), FPS)
    frames, meshes = dots(200), dots(200)
    frames[103, :20, :20] = 255  # something else flashes up
    meter.add(frames, meshes)
    shown = meter.examples()
    worst = [one for one in shown if not one.good]
    assert 4 <= len(shown) <= 8
    assert min(worst, key=lambda one: one.score).index in (103, 104)
    assert np.diff([one.index for one in worst]).min() >= 25
    np.testing.assert_array_equal(worst[0].picture, frames[worst[0].index])


def test_memory_does_not_grow_with_the_length() -> None:
    frames = dots(40, size=32)
    peaks = []
    for repeats in (1, 4):
        tracemalloc.start()
        meter = AlignmentMeter((32, 32), FPS)
        for _ in range(repeats):
            meter.add(frames, frames)
        meter.result()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_grown_reaches_as_far_as_asked() -> None:
    mask = np.zeros((21, 21), bool)
    mask[10, 10] = True
    for radius in (0, 1, 2, 3, 6, 9):
        y, x = np.nonzero(grown(mask, radius))
        assert (y.min(), y.max(), x.min(), x.max()) == (10 - radius, 10 + radius) * 2
        assert len(y) == (2 * radius + 1) ** 2


def test_messages() -> None:
    with pytest.raises(AnchorError, match="pictures of 8 x 64 px at 25 fps: give at least 16 x 16 px"):
        AlignmentMeter((8, 64), 25)
    meter = AlignmentMeter((64, 48), 25)
    with pytest.raises(
        AnchorError, match=r"got frames of shape \(2, 64, 64, 3\).*give uint8 of shape \(2, 48, 64"
    ):
        meter.add(np.zeros((2, 64, 64, 3), np.uint8), np.zeros((2, 48, 64, 3), np.uint8))
