"""SGDM, the structure-guided diffusion model (section 3.2), and the encoders of its three inputs."""
