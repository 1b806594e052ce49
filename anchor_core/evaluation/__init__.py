"""How good a result is, measured against the frames that were really filmed."""
