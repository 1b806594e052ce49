"""Where a body has its face: told by landmarks and skeleton, on the stand-in and on bodies like SMPL-X."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from anchor_core.body import BodyModel, pose_motion
from anchor_core.face.region import FOREHEAD, FaceRegion, face_region, landmarks_alone
from anchor_core.motion import Motion

NECK, HEAD, LEFT_WRIST, RIGHT_WRIST = 12, 15, 20, 21


@pytest.fixture(scope="module")
def region(body: BodyModel) -> FaceRegion:
    return face_region(body)


def whole(body: BodyModel, region: FaceRegion) -> Tensor:
    """Triangles of the head that lie in the face as a whole, (T,) bool."""
    return region.head & (region.inside[body.faces] > 0).all(1)


def centers(body: BodyModel) -> Tensor:
    return body.vertices_template[body.faces].mean(1)


def test_face_has_the_triangles_of_all_landmarks(body: BodyModel, region: FaceRegion) -> None:
    """Brows, nose, eyes, mouth: all of them; the contour lies on the border."""
    assert whole(body, region)[body.landmark_faces].all()
    assert region.head[body.contour_faces[0]].all()


def test_face_ends_at_ears_neck_and_hairline(body: BodyModel, region: FaceRegion) -> None:
    face, place = whole(body, region), centers(body)
    joints = body.joint_template
    assert place[face, 2].min() > joints[HEAD, 2] - 0.03, "the back of the head is no face"
    assert place[face, 1].min() > joints[NECK, 1], "the neck is no face"
    crown = body.vertices_template[:, 1].max()
    assert place[face, 1].max() < crown - 0.03, "the crown is no face"
    assert 0.12 < float(place[face, 0].max() - place[face, 0].min()) < 0.2
    assert 0.14 < float(place[face, 1].max() - place[face, 1].min()) < 0.22


def test_face_is_a_small_part_of_the_body_and_no_hand(body: BodyModel, region: FaceRegion) -> None:
    assert not (whole(body, region) & region.arm).any()
    assert not (region.head & region.arm).any()
    area = torch.linalg.cross(*_edges(body)).norm(dim=1) / 2
    assert 0.01 < float(area[whole(body, region)].sum()) < 0.08  # square metres, with eyes and lips


def test_arms_are_forearms_and_hands(body: BodyModel, region: FaceRegion) -> None:
    place = centers(body)
    for wrist in (LEFT_WRIST, RIGHT_WRIST):
        near = (place - body.joint_template[wrist]).norm(dim=1) < 0.05
        assert near.sum() > 20
        assert region.arm[near].all()
    chest = (place - body.joint_template[9]).norm(dim=1) < 0.2
    assert not region.arm[chest].any()


def test_a_higher_forehead_moves_only_the_upper_border(body: BodyModel) -> None:
    shown = [whole(body, face_region(body, forehead)) for forehead in (0.0, FOREHEAD, 1.0)]
    place = centers(body)
    for lower, higher in pairwise(shown):
        assert (higher | ~lower).all(), "a higher forehead takes nothing away"
        assert place[higher & ~lower, 1].min() > place[lower, 1].max() - 0.03
    tops = [float(place[face, 1].max()) for face in shown]
    assert tops[0] < tops[1] - 0.02 < tops[2] - 0.04
    assert len({round(float(place[face, 1].min()), 6) for face in shown}) == 1


def test_border_height_is_the_asked_share(body: BodyModel) -> None:
    """The border lies where `inside` crosses zero: on a plane above the brows."""
    chin, brow = (_rest_height(body, part) for part in ([8], range(17, 27)))
    region = face_region(body, 0.3)
    points = body.vertices_template
    front = (points[:, 2] > body.joint_template[HEAD, 2] + 0.05) & (points[:, 1] > brow)
    expected = brow + 0.3 * (brow - chin)
    torch.testing.assert_close(
        region.inside[front] > 0, points[front, 1] < expected, rtol=0, atol=0, equal_nan=False
    )


def test_numbers_of_vertices_and_faces_do_not_matter(body: BodyModel) -> None:
    """A licensed body counts its vertices otherwise: the region goes by skeleton and landmarks only."""
    order = torch.randperm(body.n_vertices, generator=torch.manual_seed(0))
    number = torch.empty_like(order)
    number[order] = torch.arange(len(order))
    other = replace(
        body,
        vertices_template=body.vertices_template[order],
        skin_weights=body.skin_weights[order],
        faces=number[body.faces],
    )
    ours, theirs = face_region(body), face_region(other)
    assert torch.equal(ours.inside[order], theirs.inside)
    assert torch.equal(ours.head, theirs.head)
    assert torch.equal(ours.arm, theirs.arm)


def test_landmarks_alone_are_the_bodys(body: BodyModel, talk: Motion) -> None:
    """Also with what the stand-in lacks: correctives for bent joints and contours that turn."""
    generator = torch.manual_seed(1)
    rich = replace(
        body,
        pose_dirs=torch.randn(body.n_vertices * 3, 486, generator=generator) * 1e-3,
        contour_faces=torch.randint(len(body.faces), (79, 17), generator=generator),
    )
    for one in (body, rich):
        few = landmarks_alone(one)
        assert few.n_vertices < one.n_vertices / 3
        expected, actual = pose_motion(one, talk).landmarks, pose_motion(few, talk).landmarks
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


def _rest_height(body: BodyModel, points: list[int] | range) -> float:
    faces = torch.cat([body.contour_faces[0], body.landmark_faces])[list(points)]
    bary = torch.cat([body.contour_bary[0], body.landmark_bary])[list(points)]
    return float((body.vertices_template[body.faces[faces]] * bary[..., None]).sum(1)[:, 1].mean())


def _edges(body: BodyModel) -> tuple[Tensor, Tensor]:
    a, b, c = body.vertices_template[body.faces].unbind(1)
    return b - a, c - a
