"""Where the faces of a motion are: points, crops and masks against renders of the whole frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from anchor_core.body import BodyModel, pose_motion
from anchor_core.errors import AnchorError
from anchor_core.face import track as module
from anchor_core.face.align import FFHQ, five_points, inverse, transform
from anchor_core.face.masks import face_oval, grown
from anchor_core.face.published import align_published
from anchor_core.face.track import (
    FaceTrack,
    MeshFaces,
    TrackOptions,
    track_chunks,
    track_motion,
    track_points,
    with_mask,
)
from anchor_core.face.warp import warp_to_crops
from anchor_core.motion import Camera, Motion, default_camera, place_motion, read_motion
from anchor_core.render.mesh import render_mesh, to_bytes
from anchor_core.render.motion import MotionFrames, render_motion
from anchor_core.render.raster import project

Pose = Callable[..., Motion]
CROP = 128
REASONS = {"", "turned away", "outside the frame", "covered", "too small", "no face"}
ALONE = TrackOptions(smoothing=0)


@pytest.fixture(scope="module")
def track(talk: Motion, body: BodyModel, camera: Camera) -> FaceTrack:
    return track_motion(talk, body, camera, crop_size=CROP, options=ALONE)


@pytest.fixture(scope="module")
def frames(talk: Motion, body: BodyModel, camera: Camera) -> MotionFrames:
    return render_motion(talk, body, camera)


def same(one: FaceTrack, other: FaceTrack) -> bool:
    parts = ("points", "matrices", "visibility", "mesh", "mask")
    equal = all(torch.equal(getattr(one, part), getattr(other, part)) for part in parts)
    return equal and one.hidden == other.hidden and one.frame_size == other.frame_size


def test_shapes_types_and_ranges(track: FaceTrack, talk: Motion) -> None:
    count = talk.n_frames
    assert len(track) == count
    assert track.points.shape == (count, 5, 2)
    assert track.matrices.shape == track.crop_matrices.shape == (count, 2, 3)
    assert track.matrices.dtype == track.points.dtype == torch.float64
    assert track.mesh.shape == (count, CROP, CROP, 3)
    assert track.mask.shape == (count, CROP, CROP)
    assert track.mesh.dtype == track.mask.dtype == torch.uint8
    assert set(track.mask.unique().tolist()) == {0, 255}
    assert track.visibility.dtype == torch.float32
    assert track.visible.tolist() == list(range(count))
    assert (track.frame_size, track.crop_size) == ((192, 192), CROP)


def test_points_are_the_landmarks_of_the_render(track: FaceTrack, frames: MotionFrames) -> None:
    """Half a pixel less: the renderer counts the centres of pixels at + 0.5."""
    expected = five_points(frames.landmarks) - 0.5
    torch.testing.assert_close(track.points, expected, rtol=0, atol=1e-4)


def test_points_fall_on_the_template(track: FaceTrack) -> None:
    """A face is not the template, but eyes, nose and mouth come to lie at their places within 5 %."""
    distance = (transform(track.points, track.matrices) - FFHQ).norm(dim=2)
    assert distance.mean() < 12
    assert distance.max() < 26
    mean = (transform(track.points, track.matrices) - FFHQ).mean(1)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-6)


@pytest.mark.parametrize("crop_size", [128, 256])
def test_drawn_crop_shows_what_the_frame_shows(talk: Motion, body: BodyModel, crop_size: int) -> None:
    """Against a render eight times as fine as the crop's picture of it: no shift, no change of level."""
    one = talk.sliced(3, 4)
    fine = default_camera(192 * 8, 192 * 8)
    drawn = track_motion(one, body, fine, crop_size=crop_size, options=ALONE)
    picture = render_motion(one, body, fine).image
    expected = warp_to_crops(picture, drawn.crop_matrices, crop_size)[0] * 255
    actual = drawn.mesh[0].float()
    assert (actual - expected).abs().mean() < 1
    assert abs(float((actual - expected).mean())) < 0.15
    for shift in _shift(expected.mean(2), actual.mean(2)):
        assert abs(shift) < 0.05, f"the crop lies {shift:.3f} px beside the frame"


def _shift(picture: Tensor, moved: Tensor) -> list[float]:
    """By how many pixels, x and y, `moved` lies beside `picture`, by least squares on the gradients."""
    dx = (picture[1:-1, 2:] - picture[1:-1, :-2]) / 2
    dy = (picture[2:, 1:-1] - picture[:-2, 1:-1]) / 2
    difference = (picture - moved)[1:-1, 1:-1]
    slopes = torch.stack([dx.flatten(), dy.flatten()], dim=1).double()
    return torch.linalg.lstsq(slopes, difference.flatten()[:, None].double()).solution[:, 0].tolist()


def test_shift_is_found() -> None:
    x = torch.arange(64.0)
    wave = (x[None] / 5).sin() + (x[:, None] / 7).cos()
    moved = ((x[None] - 0.3) / 5).sin() + ((x[:, None] + 0.2) / 7).cos()
    assert _shift(wave, moved) == pytest.approx([0.3, -0.2], abs=0.01)


def test_mask_lies_on_the_head(track: FaceTrack, talk: Motion, body: BodyModel, camera: Camera) -> None:
    plain = replace(ALONE, dilation=0, fill=False)
    mask = track_motion(talk, body, camera, crop_size=CROP, options=plain).mask == 255
    assert not (mask & (track.mesh.amax(-1) == 0)).any(), "no face beside the body"
    assert not (mask & (track.mask == 0)).any(), "filled and grown masks hold the plain one"
    assert 0.15 < float(mask.double().mean()) < 0.5
    posed = pose_motion(body, talk)
    inner = _in_crop(posed.landmarks[:, 27:48], track, camera)  # nose and eyes
    crown = _in_crop(posed.vertices[:, body.vertices_template[:, 1].argmax()][:, None], track, camera)
    collars = _in_crop(posed.joints[:, 13:15], track, camera)
    for frame in range(len(track)):
        assert _at(track.mask[frame], inner[frame]).all()
        assert not _at(track.mask[frame], crown[frame]).any()
        assert not _at(track.mask[frame], collars[frame]).any()


def _in_crop(points: Tensor, track: FaceTrack, camera: Camera) -> Tensor:
    """Pixels (F, N, 2) of the crop that show points (F, N, 3) of the world."""
    screen_xy, _ = project(points, camera)
    return transform(screen_xy.double() - 0.5, track.crop_matrices).round().long()


def _at(mask: Tensor, pixels: Tensor) -> Tensor:
    """The mask (S, S) at pixels (N, 2), 0 outside."""
    inside = ((pixels >= 0) & (pixels < len(mask))).all(1)
    return mask[pixels[inside, 1], pixels[inside, 0]] > 0


@pytest.mark.parametrize("chunk", [1, 2, 5, 100])
def test_result_does_not_depend_on_the_chunk(
    track: FaceTrack, talk: Motion, body: BodyModel, camera: Camera, chunk: int
) -> None:
    assert same(track, track_motion(talk, body, camera, crop_size=CROP, options=ALONE, chunk=chunk))


@pytest.mark.parametrize("start", [0, 1, 4, 8])
def test_a_track_can_begin_anywhere(
    track: FaceTrack, talk: Motion, body: BodyModel, camera: Camera, start: int
) -> None:
    parts = list(track_chunks(talk, body, camera, crop_size=CROP, options=ALONE, chunk=3, start=start))
    assert [len(part) for part in parts][:-1] == [3] * (len(parts) - 1)
    for name in ("points", "matrices", "visibility", "mesh", "mask"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(track, name)[start:])
    assert sum((part.hidden for part in parts), ()) == track.hidden[start:]


def test_few_frames_are_posed_at_once_and_hidden_ones_not_at_all(
    posed: Pose, body: BodyModel, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    def counting(who: BodyModel, *rest: object) -> object:
        result = pose_motion(who, *rest)  # type: ignore[arg-type]
        if who is body:
            counts.append(len(result.vertices))
        return result

    monkeypatch.setattr(module, "pose_motion", counting)
    motion = posed([0.0] * 40 + [180.0] * 40)
    track = track_motion(motion, body, camera, crop_size=32, options=ALONE, chunk=1000)
    assert track.visible.tolist() == list(range(40))
    assert counts == [32, 32]
    counts.clear()
    track_motion(motion.sliced(36, 40), body, camera, crop_size=32, options=ALONE, chunk=1)
    assert counts == [2] * 4, "a frame that is posed alone is rounded otherwise"


def test_turned_frames_are_hidden_and_empty(posed: Pose, body: BodyModel, camera: Camera) -> None:
    track = track_motion(posed([0, 90, -30, 180]), body, camera, crop_size=64, options=ALONE)
    assert track.hidden == ("", "turned away", "", "turned away")
    assert track.visible.tolist() == [0, 2]
    assert track.visibility.tolist() == [1, 0, 1, 0]
    for part in (track.mesh, track.mask):
        assert not part[[1, 3]].any()
        assert all(part[frame].any() for frame in (0, 2))


@pytest.mark.parametrize(
    ("shift", "reason"),
    [
        ((0.5, 0, 0), "outside the frame"),
        ((0, -0.35, 0), "outside the frame"),
        ((0, 0, 6.0), "too small"),
        ((0, 0, -6.3), "no face"),  # behind the camera
    ],
)
def test_reasons(posed: Pose, body: BodyModel, camera: Camera, shift: tuple[float, ...], reason: str) -> None:
    track = track_motion(posed(shift=shift), body, camera, crop_size=32)
    assert track.hidden == (reason,)
    assert len(track.visible) == 0
    assert not track.mask.any()


def test_face_half_in_the_frame_is_drawn_and_fades(posed: Pose, body: BodyModel, camera: Camera) -> None:
    track = track_motion(posed(shift=(0.43, 0, 0)), body, camera, crop_size=64)
    assert 0.3 < float(track.visibility[0]) < 0.9
    assert track.hidden == ("",)
    assert track.mask.any()


def test_hand_in_front_is_left_out_and_counts(
    posed: Pose, body: BodyModel, camera: Camera, hand_before_face: tuple[float, float, float]
) -> None:
    free, covered = posed(), posed(hand=hand_before_face)
    plain = track_motion(free, body, camera, crop_size=CROP, options=ALONE)
    track = track_motion(covered, body, camera, crop_size=CROP, options=ALONE)
    torch.testing.assert_close(track.points, plain.points, rtol=0, atol=1e-4)
    assert plain.visibility.tolist() == [1]
    assert 0.3 < float(track.visibility[0]) < 0.7
    hand = _shown(body, covered, camera, track, [20, *range(25, 40)])
    assert hand.sum() > 500
    inner = ~grown(~hand, 1)  # pixels at its edge show a part of both
    assert not ((track.mask[0] == 255) & inner).any(), "the hand is painted"
    lost = (plain.mask[0] == 255) & (track.mask[0] == 0)
    assert (lost & ~hand).sum() < 0.12 * hand.sum(), "more is left out than the hand and its seams"
    strict = replace(ALONE, min_visibility=0.75)
    hidden = track_motion(covered, body, camera, crop_size=CROP, options=strict)
    assert hidden.hidden == ("covered",)
    assert not hidden.mask.any()


def test_hand_behind_the_head_covers_nothing(posed: Pose, body: BodyModel, camera: Camera) -> None:
    track = track_motion(posed(hand=(0.05, 0.3, -0.15)), body, camera, crop_size=64, options=ALONE)
    assert float(track.visibility[0]) > 0.97


def _shown(body: BodyModel, motion: Motion, camera: Camera, track: FaceTrack, joints: list[int]) -> Tensor:
    """Pixels (S, S) of the crop that show what these joints move, by depth with and without that."""
    vertices = pose_motion(body, motion).vertices
    part = (body.skin_weights[:, joints].sum(1) > 0.5)[body.faces].all(1)
    scale = 8
    fine = camera.resized(192 * scale, 192 * scale)
    whole, rest = (render_mesh(vertices, faces, fine).depth[0] for faces in (body.faces, body.faces[~part]))
    front = (whole > 0) & ((rest == 0) | (whole < rest - 1e-4))
    y, x = torch.meshgrid(torch.arange(CROP), torch.arange(CROP), indexing="ij")
    crop = torch.stack([x, y], dim=-1).reshape(1, -1, 2).double()
    place = (transform(crop, inverse(track.crop_matrices))[0] + 0.5) * scale
    column, row = place.floor().long().clamp(0, 192 * scale - 1).unbind(1)
    return front[row, column].view(CROP, CROP)


def test_warped_crops_are_the_published_ones(talk: Motion, body: BodyModel, camera: Camera) -> None:
    one = talk.sliced(2, 4)
    warped = track_motion(one, body, camera, crop_size=256, options=replace(ALONE, mesh="warped"))
    drawn = track_motion(one, body, camera, crop_size=256, options=ALONE)
    picture = to_bytes(render_motion(one, body, camera).image)
    for frame in range(2):
        expected = align_published(picture[frame], warped.matrices[frame], 256)
        assert np.array_equal(np.asarray(warped.mesh[frame]), np.asarray(expected))
    assert torch.equal(warped.mask, drawn.mask)
    assert not torch.equal(warped.mesh, drawn.mesh)


def test_warped_crops_are_cut_out_of_frames_that_are_there(
    talk: Motion, body: BodyModel, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, options = talk.sliced(2, 4), replace(ALONE, mesh="warped")
    warped = track_motion(one, body, camera, crop_size=64, options=options)
    pictures = torch.from_numpy(to_bytes(render_motion(one, body, camera).image))
    monkeypatch.setattr(module, "render_mesh", None)
    assert same(warped, MeshFaces(one, body, camera, 64, options, pictures).in_memory(0, 2, 16))


def test_size_and_camera_are_those_of_the_render(talk: Motion, body: BodyModel) -> None:
    one = talk.sliced(0, 1)
    track = track_motion(one, body, size=(160, 120), crop_size=64, options=ALONE)
    landmarks = render_motion(one, body, size=(160, 120)).landmarks
    torch.testing.assert_close(track.points, five_points(landmarks) - 0.5, rtol=0, atol=1e-4)
    assert track.frame_size == (160, 120)


def test_smoothing_steadies_the_points_and_hides_nothing(
    talk: Motion, body: BodyModel, camera: Camera
) -> None:
    generator = np.random.default_rng(0)
    shaking = replace(talk, translation=talk.translation[:1] + generator.normal(0, 3e-3, (talk.n_frames, 3)))
    shaking = replace(shaking, pose=np.repeat(talk.pose[:1], talk.n_frames, axis=0))
    raw, smooth = (
        track_motion(shaking, body, camera, crop_size=32, options=TrackOptions(smoothing=sigma))
        for sigma in (0, 1.5)
    )
    assert smooth.points.std(0).mean() < 0.85 * raw.points.std(0).mean()
    assert smooth.visible.tolist() == raw.visible.tolist()


def test_progress_counts_all_frames_with_a_preview(posed: Pose, body: BodyModel, camera: Camera) -> None:
    seen = []
    track_motion(
        posed([0, 180, 0]),
        body,
        camera,
        crop_size=32,
        chunk=2,
        progress=lambda done, total, preview: seen.append((done, total, preview.shape)),
    )
    assert seen == [(1, 3, (32, 32, 3)), (2, 3, (32, 32, 3)), (3, 3, (32, 32, 3))]


def test_bodies_like_smplx(body: BodyModel, talk: Motion, camera: Camera) -> None:
    """What the stand-in lacks: corrected joints, a PCA of the hands, contours that turn, the other faces."""
    generator = torch.manual_seed(0)
    rich = replace(
        body,
        name="licensed",
        pose_dirs=torch.randn(body.n_vertices * 3, 486, generator=generator) * 1e-4,
        hand_components=torch.eye(45).expand(2, 45, 45),
        contour_faces=body.contour_faces.roll(3, dims=1),
        contour_bary=body.contour_bary.roll(3, dims=1),
        expression_space="smplx",
        expression_names=(),
    )
    motion = replace(
        talk, expression=talk.expression[:, :10] * 0.1, expression_space="smplx", betas=np.ones(4, np.float32)
    )
    track = track_motion(motion, rich, camera, crop_size=64, options=ALONE)
    frames = render_motion(motion, rich, camera)
    assert track.hidden == ("",) * talk.n_frames
    torch.testing.assert_close(track.points, five_points(frames.landmarks) - 0.5, rtol=0, atol=1e-4)
    assert track.mask.flatten(1).any(1).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_points_give_the_same_faces(
    track: FaceTrack, frames: MotionFrames, talk: Motion, dtype: torch.dtype
) -> None:
    pictures = torch.from_numpy(to_bytes(frames.image)) if dtype == torch.uint8 else frames.image
    ours = track_points(track.points, pictures, crop_size=CROP, options=ALONE)
    assert torch.equal(ours.matrices, track.matrices)
    assert torch.equal(ours.points, track.points)
    assert ours.hidden == track.hidden
    assert ours.frame_size == track.frame_size
    assert all(torch.equal(mask, face_oval(CROP)) for mask in ours.mask)
    # Softer than drawn, and at the same place.
    assert (ours.mesh.float() - track.mesh.float()).abs().mean() < 12
    for one, other in zip(ours.mesh.float().mean(-1), track.mesh.float().mean(-1), strict=True):
        assert max(abs(shift) for shift in _shift(one, other)) < 0.5


def test_frames_without_points_have_no_face() -> None:
    points = (FFHQ / 4 + 20).repeat(5, 1, 1)
    points[1, 2, 0] = math.nan
    points[3] = math.inf
    pictures = torch.full((5, 150, 180, 3), 0.5)
    track = track_points(points, pictures, crop_size=64)
    assert track.hidden == ("", "no face", "", "no face", "")
    assert track.visible.tolist() == [0, 2, 4]
    assert track.points.isfinite().all()
    assert not track.mask[[1, 3]].any()
    assert not track.mesh[[1, 3]].any()
    assert int(track.mesh[0, 32, 32, 0]) == 128
    none = track_points(torch.full_like(points, math.nan), pictures, crop_size=64)
    assert none.hidden == ("no face",) * 5
    assert not none.visibility.any()
    assert none.matrices.isfinite().all()


def test_own_mask_is_cut_out_where_the_face_is(track: FaceTrack, frames: MotionFrames) -> None:
    """A square of the frame, drawn in the crop by the matrix, at each frame's place."""
    mask = torch.zeros(len(track), 192, 192)
    nose = track.points[:, 2].round().long()
    for frame, (x, y) in enumerate(nose.tolist()):
        mask[frame, y - 6 : y + 7, x - 6 : x + 7] = 1
    mine = with_mask(track, mask)
    assert set(mine.mask.unique().tolist()) == {0, 255}
    sides = CROP / 512 * torch.linalg.det(track.matrices[:, :, :2]).sqrt()
    area = (mine.mask == 255).flatten(1).sum(1).double()
    torch.testing.assert_close(area, (13 * sides).square(), rtol=0.05, atol=0)
    for frame, one in enumerate(mine.mask):
        center = (one == 255).nonzero().double().mean(0).flip(0)
        expected = transform(nose[frame, None, None].double(), track.crop_matrices[frame, None])[0, 0]
        torch.testing.assert_close(center, expected, rtol=0, atol=0.5)
    assert torch.equal(mine.mesh, track.mesh)
    still = with_mask(track, mask[:1])
    assert torch.equal(still.mask[0], mine.mask[0])
    assert not torch.equal(still.mask[-1], mine.mask[-1])


def test_own_mask_leaves_hidden_frames_empty(posed: Pose, body: BodyModel, camera: Camera) -> None:
    track = track_motion(posed([0, 180]), body, camera, crop_size=32, options=ALONE)
    mask = torch.zeros(1, 192, 192)
    mask[:, 20:100, 40:150] = 1
    mine = with_mask(track, mask)
    assert mine.mask[0].any()
    assert not mine.mask[1].any()


def test_bad_masks_are_refused(track: FaceTrack) -> None:
    count = len(track)
    for mask in (torch.ones(count, 100, 192), torch.ones(count + 1, 192, 192), torch.ones(192, 192)):
        with pytest.raises(AnchorError, match=rf"need 1 or {count} masks of 192 x 192 pixels"):
            with_mask(track, mask)
    with pytest.raises(AnchorError, match="the face mask is empty: paint the face white"):
        with_mask(track, torch.zeros(1, 192, 192))
    with pytest.raises(AnchorError, match="the face mask covers a whole frame: paint only the face"):
        with_mask(track, torch.ones(1, 192, 192))


@pytest.mark.parametrize("size", [0, 24, 100, 4096, -64])
def test_bad_crop_sizes_are_refused(posed: Pose, body: BodyModel, camera: Camera, size: int) -> None:
    message = rf"the crop's side is {size} pixels: need a multiple of 8 from 32 to 2048"
    with pytest.raises(AnchorError, match=message):
        track_motion(posed(), body, camera, crop_size=size)
    with pytest.raises(AnchorError, match=message):
        track_points(FFHQ[None], torch.zeros(1, 64, 64, 3), crop_size=size)


@pytest.mark.parametrize("chunk", [0, -3])
def test_bad_chunks_are_refused(posed: Pose, body: BodyModel, camera: Camera, chunk: int) -> None:
    with pytest.raises(AnchorError, match=f"chunk of the face track is {chunk} frames: need 1 or more"):
        track_motion(posed(), body, camera, chunk=chunk)


@pytest.mark.parametrize(
    ("name", "high"), [("smoothing", 100), ("dilation", 0.5), ("forehead", 1), ("min_visibility", 1)]
)
def test_options_have_ranges(name: str, high: float) -> None:
    for value in (0, high):
        assert getattr(TrackOptions(**{name: value}), name) == value
    for value in (-0.01, high * 1.01, math.nan):
        with pytest.raises(AnchorError, match=f"{name} of the face track is {value}: need 0 to {high}"):
            TrackOptions(**{name: value})


def test_unknown_mesh_crops_are_refused() -> None:
    with pytest.raises(AnchorError, match="mesh of the face track is 'soft': choose 'drawn' or 'warped'"):
        TrackOptions(mesh="soft")  # type: ignore[arg-type]


def test_bad_points_are_refused() -> None:
    pictures = torch.zeros(2, 64, 64, 3)
    for points in (FFHQ, torch.zeros(2, 68, 2), torch.zeros(2, 5, 3)):
        with pytest.raises(AnchorError, match=r"need \(frames, 5, 2\), for each frame the left eye"):
            track_points(points, pictures)
    points = FFHQ.repeat(2, 1, 1)
    for wrong in (pictures[:1], pictures[..., 0], pictures[..., :2], pictures[:0]):
        with pytest.raises(AnchorError, match=r"face points for 2 frames .* one \(height, width, 3\)"):
            track_points(points, wrong)
    with pytest.raises(AnchorError, match="face points for 0 frames"):
        track_points(points[:0], pictures[:0])
    with pytest.raises(
        AnchorError, match="values up to 255: need 0 to 1, or uint8; divide the frames by 255"
    ):
        track_points(points, pictures + 255)


@pytest.mark.parametrize("name", ["show", "seth", "rich", "french", "1st-page-upper"])
def test_real_motions(shared_data: Path, body: BodyModel, camera: Camera, name: str) -> None:
    """SHOW with its own camera, TalkSHOW before the demo's: every face is seen, or it is said why not."""
    if name == "show":
        motion = read_motion(shared_data / "show" / "all.pkl")
        assert motion.camera is not None
        view = motion.camera.cropped(500, 0, 720, 720).resized(512, 512)
    else:
        motion, view = (
            place_motion(read_motion(shared_data / "talkshow" / f"{name}.npy"), camera, None),
            camera,
        )
    part = motion.sliced(0, 240)
    part = replace(
        part,
        pose=part.pose[::30],
        translation=part.translation[::30],
        expression=part.expression[::30],
        hands_pca=None,
    )
    track = track_motion(part, body, view, crop_size=64)
    assert set(track.hidden) <= REASONS
    assert len(track.visible) >= 7, track.hidden
    assert (transform(track.points, track.matrices) - FFHQ).norm(dim=2).mean() < 15
    painted = (track.mask == 255).flatten(1).double().mean(1)[track.visible]
    assert ((painted > 0.2) & (painted < 0.6)).all()
