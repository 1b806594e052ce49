"""Random signals in time that synthetic motion and nuisances are made of, deterministic by generator."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def smoothed(signal: Array, sigma: float) -> Array:
    """Gaussian low-pass along the first axis; the ends are held. (F, ...) -> (F, ...)."""
    radius = int(4 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    flat = signal.reshape(len(signal), -1)
    padded = np.pad(flat, ((radius, radius), (0, 0)), mode="edge")
    columns = [np.convolve(padded[:, c], kernel, mode="valid") for c in range(flat.shape[1])]
    return np.stack(columns, axis=1).reshape(signal.shape)


def eased(times: Array, starts: Array, ends: Array, values: Array) -> Array:
    """Minimum-jerk moves between key values.

    times: (F,) seconds. starts, ends: (K,) seconds, rising: move k goes from values[k] to values[k + 1]
    between starts[k] and ends[k]. values: (K + 1, C). Returns (F, C).
    """
    x = np.clip((times[:, None] - starts) / np.maximum(ends - starts, 1e-6), 0, 1)
    weight = x**3 * (10 - 15 * x + 6 * x**2)
    return values[0] + weight @ np.diff(values, axis=0)


def pulses(times: Array, centres: Array, heights: Array, widths: Array) -> Array:
    """Sum of Gaussian bumps: centres, widths (K,) seconds, heights (K,); (F,)."""
    if not len(centres):
        return np.zeros_like(times)
    return (heights * np.exp(-0.5 * ((times[:, None] - centres) / widths) ** 2)).sum(axis=1)


def damped_pendulum(drive: Array, fps: float, frequency_hz: float, damping: float) -> Array:
    """Damped pendulum pushed by an acceleration: x'' = -w^2 x - 2 d w x' + drive; (F, C) -> (F, C).

    Semi-implicit Euler at four steps per frame is stable for every frequency below fps.
    """
    omega, step = 2 * np.pi * frequency_hz, 1 / (4 * fps)
    state, speed = np.zeros(drive.shape[1]), np.zeros(drive.shape[1])
    out = np.empty_like(drive)
    for frame, push in enumerate(drive):
        for _ in range(4):
            speed = speed + step * (push - omega**2 * state - 2 * damping * omega * speed)
            state = state + step * speed
        out[frame] = state
    return out
