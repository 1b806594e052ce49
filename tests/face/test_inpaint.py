"""The face pass on tiny random networks: which frames it touches, with what, in which pieces."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.face.blend import BlendOptions
from anchor_core.face.codec import LatentCodec, codec_of
from anchor_core.face.inpaint import face_conditioning, inpaint_channels, keep_mask, masked_pictures
from anchor_core.face.passes import FaceTake, face_of, inpaint_faces, paste_faces
from anchor_core.face.stream import PassOptions
from anchor_core.face.track import FaceTrack
from anchor_core.face.visibility import fade_weights
from anchor_core.sampling.sampler import SamplerSettings
from anchor_core.sampling.schedulers import STABLE_DIFFUSION

from ..anchor import models
from .moving import CROP_SIZE, HEIGHT, HIDDEN, N_FRAMES, SHOWN, WIDTH, moving_frames, moving_track

SETTINGS = SamplerSettings(steps=2, guidance_scale=2.0, condition_scale=1.0, window_size=3, overlap=1)
PLAIN = PassOptions(blend=BlendOptions(color_match=False))


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(3)
    sgdm = models.tiny_sgdm(in_channels=9)
    with torch.no_grad():  # zero convolutions would hide what the mesh does
        for parameter in sgdm.controlnet.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return sgdm


@pytest.fixture(scope="module")
def vae() -> Any:
    torch.manual_seed(4)
    return models.tiny_vae()


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    return moving_frames()


@pytest.fixture
def track() -> FaceTrack:
    return moving_track()


@pytest.fixture
def paint(network: Any, vae: Any, frames: torch.Tensor, track: FaceTrack) -> Any:
    """paint(**changes): one face pass."""

    def run(**changes: Any) -> FaceTake:
        generator = torch.Generator().manual_seed(9)
        tokens = torch.randn(2, 1, 5, 12, generator=generator)
        given = {
            "network": network,
            "codec": codec_of(vae),
            "frames": frames,
            "track": track,
            "settings": SETTINGS,
            "noise_schedule": STABLE_DIFFUSION,
            "appearance": tokens[0],
            "null": tokens[1],
        }
        return inpaint_faces(**given | changes)

    return run


def hide_all(track: FaceTrack) -> FaceTrack:
    return replace(track, hidden=("covered",) * N_FRAMES, visibility=torch.zeros(N_FRAMES))


def remasked(track: FaceTrack, value: int) -> FaceTrack:
    mask = torch.zeros_like(track.mask)
    mask[track.visible] = value
    return replace(track, mask=mask)


class Recorder:
    """A codec that tells what it was asked for."""

    def __init__(self, codec: LatentCodec) -> None:
        self.encoded: list[tuple[int, int]] = []
        self.decoded: list[int] = []
        self._inner = codec
        self.codec = replace(codec, encode=self._encode, decode=self._decode)

    def _encode(self, pictures: torch.Tensor, first: int) -> torch.Tensor:
        self.encoded.append((first, len(pictures)))
        return self._inner.encode(pictures, first)

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        self.decoded.append(len(latents))
        return self._inner.decode(latents)


# What the network is given


def test_the_mask_channel_is_one_where_the_picture_is_kept() -> None:
    mask = torch.tensor([[[0, 127, 128, 255]]], dtype=torch.uint8)
    assert keep_mask(mask).tolist() == [[[[1, 1, 0, 0]]]]
    assert keep_mask(mask / 255).tolist() == [[[[1, 1, 0, 0]]]]
    assert keep_mask(torch.tensor([[[0.5]]])).item() == 1  # as published: a tie is kept


def test_the_mask_channel_is_the_first_pixel_of_each_block() -> None:
    mask = torch.randint(0, 2, (3, 16, 16), generator=torch.Generator().manual_seed(0)) * 255
    small = keep_mask(mask.to(torch.uint8), 8)
    assert small.shape == (3, 1, 2, 2)
    assert torch.equal(small[:, 0], 1 - mask[:, [0, 8]][:, :, [0, 8]] / 255)


def test_painted_pixels_are_mid_grey_and_others_untouched() -> None:
    pictures, mask = torch.rand(1, 4, 4, 3), torch.zeros(1, 4, 4)
    mask[0, 1, 2] = 1
    masked = masked_pictures(pictures, mask)
    assert (masked[0, 1, 2] * 2 - 1 == 0).all()
    masked[0, 1, 2] = pictures[0, 1, 2]
    assert torch.equal(masked, pictures)


def test_channels_are_the_mask_and_then_what_the_encoder_makes_of_the_surroundings(vae: Any) -> None:
    codec = codec_of(vae)
    pictures, mask = torch.rand(2, 16, 16, 3), torch.zeros(2, 16, 16)
    mask[:, 4:12, 4:12] = 1
    channels = inpaint_channels(codec, pictures, mask)
    assert channels.shape == (2, 1 + codec.channels, 8, 8)
    assert torch.equal(channels[:, :1], keep_mask(mask, 2))
    assert torch.equal(channels[:, 1:], codec.encode(masked_pictures(pictures, mask), 0))
    other_face = torch.where(mask[..., None] > 0, 1 - pictures, pictures)
    assert torch.equal(inpaint_channels(codec, other_face, mask), channels)


def test_an_encoder_is_told_which_crop_of_the_sequence_comes_first(
    vae: Any, frames: torch.Tensor, track: FaceTrack
) -> None:
    recorder = Recorder(codec_of(vae))
    conditioning = face_conditioning(recorder.codec, frames, track, torch.zeros(1, 5, 12), chunk=3)
    assert recorder.encoded == [(0, 3), (3, 1)]
    assert torch.equal(torch.as_tensor(conditioning.pose), track.mesh[SHOWN])
    assert conditioning.inpaint is not None
    assert conditioning.inpaint.shape == (4, 5, 8, 8)


def test_a_drawn_encoding_has_the_deviation_of_the_posterior(vae: Any) -> None:
    picture = torch.rand(1, 16, 16, 3)
    posterior = vae.encode(picture.permute(0, 3, 1, 2) * 2 - 1).latent_dist
    mean, drawn = (codec_of(vae, posterior).encode(picture, 0) for posterior in ("mode", "sample"))
    noise = torch.randn(30, 4, 8, 8, generator=torch.Generator().manual_seed(0))[:1]
    assert torch.allclose(drawn - mean, posterior.std * noise * vae.config.scaling_factor, atol=1e-5)


# Which frames are touched


def test_hidden_frames_stay_bit_for_bit_and_others_change_in_the_face_alone(
    paint: Any, frames: torch.Tensor, track: FaceTrack
) -> None:
    before = frames.clone()
    take = paint(frames=frames)
    assert torch.equal(frames, before)
    for number, why in enumerate(HIDDEN):
        changed = (take.frames[number] != frames[number]).any(-1)
        assert bool(changed.any()) == (not why)
        left, top = 6 + number, 5
        changed[top : top + 20, left : left + 20] = False
        assert not changed.any()
    assert take.frames.min() >= 0
    assert take.frames.max() <= 1


def test_crops_of_hidden_frames_are_those_of_the_frames(paint: Any, frames: torch.Tensor) -> None:
    take, white = paint(), paint(frames=torch.ones_like(frames))
    assert take.crops.shape == (N_FRAMES, CROP_SIZE, CROP_SIZE, 3)
    hidden = [number for number, why in enumerate(HIDDEN) if why]
    assert torch.allclose(white.crops[hidden], torch.ones(()), atol=1e-5)
    assert not torch.allclose(white.crops[SHOWN], torch.ones(()), atol=0.05)
    assert take.mask.shape == (N_FRAMES, CROP_SIZE, CROP_SIZE)
    assert set(take.mask.unique().tolist()) == {0.0, 1.0}


def test_hidden_frames_are_not_sampled(paint: Any, frames: torch.Tensor) -> None:
    other = frames.clone()
    other[[2, 3, 6]] = 0
    assert torch.equal(paint(frames=other).frames[SHOWN], paint().frames[SHOWN])


def test_the_mesh_and_the_surroundings_matter(paint: Any, frames: torch.Tensor, track: FaceTrack) -> None:
    crops = paint().crops[SHOWN]
    for changes in ({"track": replace(track, mesh=255 - track.mesh)}, {"frames": 1 - frames}):
        assert (paint(**changes).crops[SHOWN] - crops).abs().max() > 1e-4


def test_what_lies_under_the_mask_does_not_matter(paint: Any, frames: torch.Tensor, track: FaceTrack) -> None:
    other = frames.clone()
    for number in SHOWN:
        other[number, 13:18, 13 + number : 17 + number] = 0  # well inside of the mask
    assert torch.equal(paint(frames=other, options=PLAIN).crops[SHOWN], paint(options=PLAIN).crops[SHOWN])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float64])
def test_frames_of_any_type_come_back_as_float(paint: Any, frames: torch.Tensor, dtype: torch.dtype) -> None:
    given = (frames * 255).round().to(dtype) if dtype == torch.uint8 else frames.to(dtype)
    take = paint(frames=given)
    floats = given.float() / 255 if dtype == torch.uint8 else given.float()
    assert take.frames.dtype == torch.float32
    assert torch.allclose(take.frames, paint(frames=floats).frames, atol=1e-4)
    assert torch.equal(take.frames[2], floats[2])
    assert torch.equal(take.frames, paint(frames=given.numpy()).frames)


# How it runs


@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize("mode", ["face", "crop", "square"])
def test_chunks_do_not_change_the_result(paint: Any, chunk: int, mode: str) -> None:
    blend = BlendOptions(mode=mode)
    one, other = (paint(options=PassOptions(blend, chunk=size)) for size in (2, chunk))
    # The square is pasted in bytes.
    assert (one.frames - other.frames).abs().max() < (1.01 / 255 if mode == "square" else 1e-5)
    assert torch.allclose(one.crops, other.crops, atol=1e-5)


def test_no_more_than_a_chunk_is_in_memory_and_each_crop_is_decoded_once(paint: Any, vae: Any) -> None:
    recorder = Recorder(codec_of(vae))
    take = paint(codec=recorder.codec, options=PassOptions(chunk=3))
    assert recorder.encoded == [(0, 3), (3, 1)]
    assert recorder.decoded == [3, 1]
    assert take.crops is not None


@pytest.mark.parametrize(("match", "times"), [(True, 2), (False, 1)])
def test_without_crops_the_frames_are_the_same(paint: Any, vae: Any, match: bool, times: int) -> None:
    blend, recorder = BlendOptions(color_match=match), Recorder(codec_of(vae))
    take = paint(codec=recorder.codec, options=PassOptions(blend, keep_crops=False, chunk=3))
    assert take.crops is None
    assert recorder.decoded == [3, 1] * times
    assert torch.equal(take.frames, paint(options=PassOptions(blend, chunk=3)).frames)


def test_frame_by_frame_no_face_sees_another(paint: Any, track: FaceTrack) -> None:
    alone = replace(track, hidden=tuple("" if number == 4 else "covered" for number in range(N_FRAMES)))
    single = replace(SETTINGS, window_size=1, overlap=0)
    given = {"options": PLAIN, "settings": single}
    assert torch.allclose(paint(track=alone, **given).frames[4], paint(**given).frames[4], atol=1e-5)
    windowed = {"options": PLAIN, "settings": SETTINGS}
    difference = paint(track=alone, **windowed).crops[4] - paint(**windowed).crops[4]
    assert difference.abs().max() > 1e-4


def test_the_same_call_gives_the_same_frames_and_another_seed_others(paint: Any) -> None:
    assert torch.equal(paint().frames, paint().frames)
    assert not torch.equal(paint(settings=replace(SETTINGS, seed=5)).frames, paint().frames)


def test_guidance_needs_no_null_tokens_at_1(paint: Any) -> None:
    plain = replace(SETTINGS, guidance_scale=1.0)
    assert torch.equal(paint(settings=plain, null=None).frames, paint(settings=plain).frames)
    with pytest.raises(AnchorError, match="null tokens"):
        paint(null=None)


def test_noise_and_type_reach_the_sampler(paint: Any) -> None:
    noise = torch.zeros(4, 4, 8, 8)
    assert not torch.equal(paint(noise=noise).frames, paint().frames)
    with pytest.raises(AnchorError, match="noise has the shape"):
        paint(noise=noise[:3])


# A face that comes and goes


def test_the_face_fades_in_where_it_comes_into_sight() -> None:
    weights = fade_weights(torch.tensor([0.0, 0.3, 0.32, 0.375, 0.43, 0.45, 1.0]), 0.3)
    assert weights[:2].tolist() == [0, 0]
    assert weights[5:].tolist() == [1, 1]
    assert 0 < weights[2] < 0.1 < weights[3] < 0.9 < weights[4] < 1
    assert weights[3] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("least", [0.0, 0.9, 1.0])
def test_a_face_that_is_seen_completely_is_shown_completely(least: float) -> None:
    assert fade_weights(torch.ones(1), least).item() == 1


def test_a_face_that_is_hardly_seen_is_hardly_shown(
    paint: Any, frames: torch.Tensor, track: FaceTrack
) -> None:
    visibility = track.visibility.clone()
    visibility[1], visibility[4] = 0.31, 0.3
    take = paint(track=replace(track, visibility=visibility))
    change = (take.frames - frames).abs().amax((1, 2, 3))
    assert change[4] == 0
    assert 0 < change[1] < 0.1 * change[0]
    sooner = paint(track=replace(track, visibility=visibility, min_visibility=0.1))
    assert (sooner.frames[4] != frames[4]).any()


def test_without_any_face_the_frames_stay_and_one_warning_is_given(
    paint: Any, frames: torch.Tensor, track: FaceTrack, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "anchor"):
        take = paint(track=hide_all(track))
    assert torch.equal(take.frames, frames)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no face to paint in 7 frames (7 covered): they stay as they are" in caplog.text


def test_the_log_tells_once_which_frames_were_left(paint: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "anchor"):
        paint()
    lines = [record.message for record in caplog.records if record.message.startswith("face pass")]
    assert lines == ["face pass: 4 of 7 faces painted; left as they are: 2 turned away, 1 covered"]


# Progress


def test_bars_are_named_and_filled_and_previews_arrive(paint: Any) -> None:
    bars: dict[str, list[tuple[int, int]]] = {}
    previews: list[Any] = []

    @contextmanager
    def step(name: str, _unit: str) -> Iterator[Any]:
        bars[name] = []

        def move(done: int, total: int, preview: Any) -> None:
            bars[name].append((done, total))
            if preview is not None:
                previews.append((preview.shape, str(preview.dtype)))

        yield move

    seen: list[torch.Size] = []
    paint(step=step, callback=lambda *event: seen.append(event[4].shape), options=PassOptions(chunk=3))
    assert list(bars) == ["cropping faces", "denoising faces", "decoding faces", "blending faces"]
    assert bars["cropping faces"] == bars["decoding faces"] == [(3, 4), (4, 4)]
    assert bars["blending faces"] == [(3, 7), (6, 7), (7, 7)]
    assert bars["denoising faces"][-1] == (4, 4)  # two steps of two windows
    assert seen == [(3, 4, 8, 8)] * 4
    assert set(previews) == {((16, 16, 3), "uint8"), ((HEIGHT, WIDTH, 3), "uint8")}


class Stopped(Exception):
    """Somebody pressed the button."""


@pytest.mark.parametrize("where", ["cropping", "denoising", "callback", "decoding", "blending"])
def test_a_stop_passes_through(paint: Any, frames: torch.Tensor, where: str) -> None:
    before = frames.clone()

    def stop(*_event: object) -> None:
        raise Stopped

    @contextmanager
    def step(name: str, _unit: str) -> Iterator[Any]:
        yield stop if name.startswith(where) else lambda *_event: None

    with pytest.raises(Stopped):
        paint(step=step) if where != "callback" else paint(callback=stop)
    assert torch.equal(frames, before)
    assert paint().frames.isfinite().all()


# What does not fit


def test_frames_of_another_clip_are_refused(paint: Any, frames: torch.Tensor) -> None:
    for given, message in (
        (frames[:5], "there are 5 frames and faces were tracked in 7"),
        (frames[:, :30], "the frames are 40 x 30 pixels and faces were tracked at 40 x 32"),
        (frames[..., :2], r"the frames have the shape \(7, 32, 40, 2\)"),
        (frames[:0], r"the frames have the shape \(0, 32, 40, 3\)"),
        ((frames * 255).int(), "the type torch.int32: need"),
        (frames * 255, "the first frame holds values up to 25[0-9.]+: need 0 to 1"),
    ):
        with pytest.raises(AnchorError, match=message):
            paint(frames=given)


def test_masks_that_leave_nothing_to_do_are_refused(paint: Any, track: FaceTrack) -> None:
    with pytest.raises(AnchorError, match="the face mask is empty in all 4 frames that show a face"):
        paint(track=remasked(track, 0))
    with pytest.raises(AnchorError, match="the face mask covers the whole crop of frame 0"):
        paint(track=remasked(track, 255))


def test_a_clip_without_faces_has_no_conditioning(vae: Any, frames: torch.Tensor, track: FaceTrack) -> None:
    with pytest.raises(AnchorError, match="none of the 7 frames shows a face"):
        face_conditioning(codec_of(vae), frames, hide_all(track), torch.zeros(1, 5, 12))


def test_networks_that_paint_no_faces_are_refused(paint: Any) -> None:
    with pytest.raises(
        AnchorError, match=r"takes no mask, it is one for body frames, and .* needs 5 inpaint"
    ):
        paint(network=models.tiny_sgdm())
    with pytest.raises(
        AnchorError, match="takes 4 latent and 4 inpainting channels and this VAE gives 4 and 5"
    ):
        paint(network=models.tiny_sgdm(in_channels=8))


def test_vaes_of_other_networks_are_refused(paint: Any, vae: Any, track: FaceTrack) -> None:
    codec = codec_of(vae)
    with pytest.raises(AnchorError, match="this VAE gives 3 and 4: use the VAE"):
        paint(codec=replace(codec, channels=3))
    with pytest.raises(AnchorError, match="has 2 pixels per latent pixel and this VAE 8"):
        paint(codec=replace(codec, stride=8))
    with pytest.raises(AnchorError, match=r"gave latents of the shape \(4, 4, 4, 4\): need \(4, 4, 8, 8\)"):
        paint(codec=replace(codec, encode=lambda pictures, first: torch.zeros(len(pictures), 4, 4, 4)))
    with pytest.raises(
        AnchorError, match=r"gave pictures of the shape \(4, 8, 8, 3\): need \(4, 16, 16, 3\)"
    ):
        paint(codec=replace(codec, decode=lambda latents: torch.zeros(len(latents), 8, 8, 3)))


def test_crops_that_no_latent_fits_are_refused(paint: Any, track: FaceTrack) -> None:
    odd = replace(track, mesh=track.mesh[:, :15, :15], mask=track.mask[:, :15, :15])
    with pytest.raises(AnchorError, match="the crops are 15 pixels wide: need a multiple of 2"):
        paint(track=odd)


def test_latents_of_another_track_are_refused(vae: Any, frames: torch.Tensor, track: FaceTrack) -> None:
    with pytest.raises(AnchorError, match="there are latents of 3 faces and 4 frames show one"):
        paste_faces(codec_of(vae), torch.zeros(3, 4, 8, 8), frames, track)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk": 0}, "chunk of the face pass is 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        PassOptions(**options)


def test_unknown_posteriors_are_refused(vae: Any) -> None:
    with pytest.raises(AnchorError, match="posterior is 'median': choose 'mode' or 'sample'"):
        codec_of(vae, "median")  # type: ignore[arg-type]
    with pytest.raises(AnchorError, match="batch is 0: need 1 or more crops"):
        codec_of(vae, "sample", 0)


# The network of an anchor


def test_an_anchor_without_a_face_network_says_what_to_do() -> None:
    with pytest.raises(AnchorError, match=r"'Ada' holds no face network .* train one with the face conf"):
        face_of(models.tiny_anchor())


def test_the_face_network_never_repeats_the_aliasing_of_the_body(network: Any) -> None:
    assert face_of(models.tiny_anchor(face=network)) is network
    published = models.tiny_sgdm(in_channels=9)
    published.fidelity = "reference"
    anchor = models.tiny_anchor(face=published)
    assert face_of(anchor).fidelity == "trained"
    assert face_of(anchor).unet is published.unet
    assert published.fidelity == "reference"
