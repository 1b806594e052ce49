"""Edits of a motion: each takes a `Motion` and gives a new one; sound and marks travel along."""
