"""ComfyUI's door. The nodes, and with them `comfy_entrypoint`, come with the ComfyUI part of the project."""
