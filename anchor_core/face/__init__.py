"""The face pass (section 3.4 of the paper): find the face, paint it anew in an aligned crop, put it back."""
