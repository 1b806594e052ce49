"""Whole motions: chunks, sizes, landmarks, progress."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from anchor_core.body import BodyModel, pose_motion
from anchor_core.errors import AnchorError
from anchor_core.motion import Camera, Motion, default_camera
from anchor_core.render.mesh import check_mesh, render_mesh
from anchor_core.render.motion import fit_camera, render_chunks, render_motion

PARTS = ("image", "mask", "depth", "landmarks")


@pytest.mark.parametrize("chunk", [1, 2, 5, 100])
def test_result_does_not_depend_on_the_chunk(
    body: BodyModel, motion: Motion, camera: Camera, chunk: int
) -> None:
    frames = render_motion(motion, body, camera, chunk=chunk)
    posed = pose_motion(body, motion)
    expected = render_mesh(posed.vertices, body.faces, camera)
    # Skinning in batches of another size rounds differently in the last bit.
    assert (frames.mask - expected.mask).abs().mean() < 1e-4
    assert (frames.image - expected.image).abs().mean() * 255 < 0.01
    assert (frames.depth - expected.depth).abs().mean() < 1e-4


def test_one_frame_has_all_parts(body: BodyModel, motion: Motion, camera: Camera) -> None:
    frames = render_motion(motion.sliced(2, 3), body, camera)
    assert [tuple(getattr(frames, part).shape) for part in PARTS] == [
        (1, 96, 96, 3),
        (1, 96, 96),
        (1, 96, 96),
        (1, 68, 3),
    ]
    assert len(frames) == 1


def test_landmarks_lie_on_the_face_that_is_seen(body: BodyModel, motion: Motion) -> None:
    frames = render_motion(motion.sliced(0, 1), body, default_camera(256, 256))
    nose_tip = frames.landmarks[0, 30]
    x, y = (int(value) for value in nose_tip[:2])
    assert frames.mask[0, y, x] == 1
    assert abs(float(frames.depth[0, y, x] - nose_tip[2])) < 0.01
    eyes, mouth, chin = (
        frames.landmarks[0, part, :2].mean(0) for part in (range(36, 48), range(48, 68), [8])
    )
    assert eyes[1] < nose_tip[1] < mouth[1] < chin[1]
    # iBUG counts from the person's right, that is from the picture's left.
    assert frames.landmarks[0, 36, 0] < frames.landmarks[0, 45, 0]


def test_camera_falls_back_to_the_motions_own_then_to_the_default(
    body: BodyModel, motion: Motion, camera: Camera
) -> None:
    short = motion.sliced(0, 1)
    given = render_motion(short, body, camera)
    own = render_motion(replace(short, camera=camera), body)
    default = render_motion(short, body, size=(96, 96))
    assert torch.equal(given.image, own.image)
    assert torch.equal(given.image, default.image)


def test_size_replaces_the_cameras(body: BodyModel, motion: Motion) -> None:
    short = motion.sliced(0, 1)
    large = render_motion(short, body, default_camera(192, 192))
    small = render_motion(short, body, default_camera(192, 192), size=(64, 64))
    assert small.image.shape == (1, 64, 64, 3)
    assert torch.allclose(small.landmarks[..., :2], large.landmarks[..., :2] / 3, atol=1e-3)
    shrunk = torch.nn.functional.avg_pool2d(large.mask, 3)
    assert (small.mask - shrunk).abs().mean() < 0.01


def test_size_of_another_shape_crops_instead_of_stretching() -> None:
    wide = Camera((5000.0, 5000.0), (640.0, 360.0), (1280, 720), (-0.27, -0.71, 6.2))
    square = fit_camera(wide, (512, 512))
    assert square.size == (512, 512)
    assert square.focal_px == pytest.approx((5000 * 512 / 720, 5000 * 512 / 720))
    assert square.center_px == pytest.approx((256, 256))
    assert fit_camera(wide, (640, 360)) == wide.resized(640, 360)
    assert fit_camera(wide, None) == wide
    assert fit_camera(None, (64, 48)) == default_camera(64, 48)


def test_chunks_come_one_after_the_other(body: BodyModel, motion: Motion, camera: Camera) -> None:
    assert [len(part) for part in render_chunks(motion, body, camera, chunk=2)] == [2, 2, 1]


def test_progress_counts_through_the_chunks(body: BodyModel, motion: Motion, camera: Camera) -> None:
    seen = []
    render_motion(motion, body, camera, chunk=2, progress=lambda done, total, _: seen.append((done, total)))
    assert seen == [(i, 5) for i in range(1, 6)]


@pytest.mark.parametrize("size", [(0, 64), (64, -1), (64.5, 64), (9000, 64)])
def test_bad_sizes_are_refused(body: BodyModel, motion: Motion, size: tuple[int, int]) -> None:
    with pytest.raises(AnchorError, match="both sides need whole pixels from 1 to 8192"):
        render_motion(motion, body, size=size)


def test_bad_chunk_is_refused(body: BodyModel, motion: Motion, camera: Camera) -> None:
    with pytest.raises(AnchorError, match="chunk is 0 frames: it needs at least 1"):
        render_motion(motion, body, camera, chunk=0)


@pytest.mark.parametrize("workers", [2, 3])
def test_frames_are_the_same_bits_with_any_number_of_workers(
    body: BodyModel, motion: Motion, camera: Camera, workers: int
) -> None:
    alone = render_motion(motion, body, camera, chunk=2, workers=1)
    with torch.inference_mode():  # as hosts run it; the workers do not
        together = render_motion(motion, body, camera, chunk=2, workers=workers)
    for part in PARTS:
        assert torch.equal(getattr(alone, part), getattr(together, part)), part


def test_torchs_own_threads_change_no_bit(body: BodyModel, motion: Motion) -> None:
    large = default_camera(320, 320)  # large enough for torch to share the work
    before = torch.get_num_threads()
    try:
        frames = []
        for count in (1, 2):
            torch.set_num_threads(count)
            frames.append(render_motion(motion.sliced(0, 1), body, large, workers=1))
    finally:
        torch.set_num_threads(before)
    for part in PARTS:
        assert torch.equal(*(getattr(one, part) for one in frames)), part


@pytest.mark.parametrize("start", [1, 2, 3, 4])
def test_frames_are_the_same_bits_wherever_one_starts(
    body: BodyModel, motion: Motion, camera: Camera, start: int
) -> None:
    whole = render_motion(motion, body, camera, chunk=2)
    parts = list(render_chunks(motion, body, camera, chunk=2, start=start))
    assert [len(part) for part in parts] == {1: [1, 2, 1], 2: [2, 1], 3: [1, 1], 4: [1]}[start]
    for name in PARTS:
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(whole, name)[start:]), name


def test_progress_comes_in_order_in_the_callers_thread_and_may_stop_the_workers(
    body: BodyModel, motion: Motion, camera: Camera
) -> None:
    seen: list[tuple[int, str]] = []

    def count(done: int, _total: int, _preview: object) -> None:
        seen.append((done, threading.current_thread().name))
        if done == 3:
            raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        render_motion(motion, body, camera, chunk=2, workers=2, progress=count)
    assert seen == [(i, threading.current_thread().name) for i in (1, 2, 3)]
    assert not [t for t in threading.enumerate() if t.name.startswith("anchor-")]


def test_a_broken_frame_is_named_by_its_number_in_the_motion(square: tuple[Tensor, Tensor]) -> None:
    vertices = torch.cat([square[0], square[0] * torch.inf])
    with pytest.raises(AnchorError, match="not finite in frame 17 "):
        check_mesh(vertices, square[1], first=16)


@pytest.mark.parametrize("start", [-1, 5])
def test_bad_start_is_refused(body: BodyModel, motion: Motion, camera: Camera, start: int) -> None:
    with pytest.raises(AnchorError, match=f"The start is frame {start}: it needs 0 to 4"):
        render_chunks(motion, body, camera, start=start)
