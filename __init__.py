"""ComfyUI's door. Nothing is imported, read or registered before ComfyUI asks for the nodes."""

from typing import Any

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint() -> Any:
    """The extension with all nodes; called once by ComfyUI."""
    from .nodes.extension import SyncLipExtension, register_folders

    register_folders()
    return SyncLipExtension()
