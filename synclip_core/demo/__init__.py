"""The bundled test clip and the program that draws it: a talking head whose mouth follows speech with known timing.

`speech.mp4` is rendered by `python -m train.render_demo`; its true lag is 0. Nothing here is needed to score it.
"""

from pathlib import Path

CLIP = Path(__file__).with_name("speech.mp4")
PHONEMES = Path(__file__).with_name("speech.json")
