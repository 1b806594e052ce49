"""Frames and sound in and out: video files, and contact sheets for a glance at a clip."""
