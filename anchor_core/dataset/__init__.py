"""From video and motion to a folder that an anchor is trained on."""
