"""Anchor Avatar Studio: one minute of video of a person becomes a presenter in ComfyUI.

ComfyUI imports this file. It stays light: the nodes come with `comfy_entrypoint`, models with the first run.
"""

WEB_DIRECTORY = "./nodes/web"


async def comfy_entrypoint():  # type: ignore[no-untyped-def]
    """Hand the nodes to ComfyUI; imported here so that the library can be used without ComfyUI."""
    from .nodes import AnchorExtension

    return AnchorExtension()
