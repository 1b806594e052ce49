"""From a motion to a video file, a few frames at a time; what is finished lies on the disk."""
