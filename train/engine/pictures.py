"""Contact sheets: what was given, and what came of it."""

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

SHOWN, HEAD = 160, 24  # pixels of a picture, of the line above


def sheet(columns: Sequence[str], rows: Sequence[Sequence[Tensor]]) -> Image.Image:
    """rows: a clip each, of pictures [H, W, 3] in 0..1, one a column."""
    image = Image.new("RGB", (len(columns) * SHOWN, HEAD + len(rows) * SHOWN), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    for k, name in enumerate(columns):
        draw.text((k * SHOWN + 6, 4), name, fill=(28, 33, 40), font=ImageFont.load_default(14))
    for i, row in enumerate(rows):
        for k, picture in enumerate(row):
            pixels = picture.mul(255).round().to(torch.uint8).cpu().numpy()
            image.paste(Image.fromarray(pixels).resize((SHOWN, SHOWN)), (k * SHOWN, HEAD + i * SHOWN))
    return image
