"""Training of the VAE and of the SGDM (sections 3.1, 4.1): first on many people, then on one."""
