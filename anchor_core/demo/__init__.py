"""A presenter of our own: synthetic motion and the dressed stand-in body, for the demo anchor."""
