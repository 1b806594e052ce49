"""Mesh renders: the pose condition of the network."""
