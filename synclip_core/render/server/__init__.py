"""How a ComfyUI server is spoken to."""
