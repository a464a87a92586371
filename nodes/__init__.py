"""ComfyUI nodes: sockets, tooltips, progress, cancellation. What they compute is in synclip_core."""
