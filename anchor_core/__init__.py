"""Make-Your-Anchor: from one minute of video of a person to a presenter who moves as you say.

Everything here works without ComfyUI. Importing this package is cheap: torch and the model
libraries are imported by the modules that need them.
"""

__version__ = "0.1.0"
