"""Overlapped temporal denoising: windows, noise, schedulers, the sampler and a picture of the plan."""
