"""How fast the sampler is, side by side with the published loop, and how much memory a long film takes."""
