"""Sound of motions that overlap."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..soundtrack import Soundtrack


def at_rate(sound: Soundtrack, rate: int) -> Soundtrack:
    """The sound with another number of samples per second, as long as before."""
    from ...video.read import resampled_sound

    if rate == sound.rate:
        return sound
    parts = resampled_sound(sound.waveform, sound.rate).at_rate(rate).chunks
    empty = np.zeros((len(sound.waveform), 0), np.float32)
    return Soundtrack(np.concatenate([empty, *parts], axis=1), rate).cut(0.0, sound.duration_s)


def overlapped(
    first: Soundtrack | None, second: Soundtrack | None, start_s: float, first_s: float
) -> Soundtrack | None:
    """`second` from `start_s` on over the end of `first`, which lasts `first_s`; it fades in as the other
    fades out. None is silence; two of them stay None."""
    one = first or second
    if one is None:
        return None
    rate = one.rate
    channels = max(len(sound.waveform) for sound in (first, second) if sound is not None)
    begin = _samples(first, rate, channels).cut(0.0, first_s).waveform
    end = _samples(second, rate, channels).waveform
    start = round(start_s * rate)
    overlap = min(max(0, begin.shape[1] - start), end.shape[1])
    share = fade(overlap)
    mixed = begin[:, start : start + overlap] * (1 - share) + end[:, :overlap] * share
    return Soundtrack(np.concatenate([begin[:, :start], mixed, end[:, overlap:]], axis=1), rate)


def repeated(sound: Soundtrack, period_s: float, overlap_s: float, times: int) -> Soundtrack:
    """The first `period_s` of a sound `times` times, each beginning with the `overlap_s` that follow, fading
    out. Every round begins at the sample nearest to its time, so that none comes late."""
    whole = sound.cut(0.0, period_s + 1 / sound.rate).waveform.copy()  # one sample more: rounds differ by one
    tail = sound.cut(period_s, overlap_s).waveform
    share = fade(tail.shape[1])
    whole[:, : len(share)] = tail * (1 - share) + whole[:, : len(share)] * share
    starts = [round(turn * period_s * sound.rate) for turn in range(times + 1)]
    rounds = [whole[:, : stop - start] for start, stop in pairwise(starts)]
    return Soundtrack(np.concatenate(rounds, axis=1), sound.rate)


def fade(count: int) -> np.ndarray:
    """Shares (count,) float32 that go from 0 to 1 without a kink (smoothstep), symmetric about one half."""
    x = (np.arange(count) + 0.5) / max(1, count)
    shares: np.ndarray = (x * x * (3 - 2 * x)).astype(np.float32)
    return shares


def _samples(sound: Soundtrack | None, rate: int, channels: int) -> Soundtrack:
    if sound is None:
        return Soundtrack(np.zeros((channels, 0), np.float32), rate)
    waveform = at_rate(sound, rate).waveform
    return Soundtrack(np.broadcast_to(waveform, (channels, waveform.shape[1])), rate)
