"""What was read, at the size of a node: a line a subtitle, unsure words in amber. Dark, as ComfyUI is."""

from PIL import Image, ImageDraw, ImageFont

from ...synclip_core.reading.transcript import Transcript
from ..shared.panel import AMBER, GREEN, GREY, INK, PAPER

WIDTH, LEFT, TEXT, RIGHT = 640, 24, 104, 616
HEAD, ROW = 56, 34
SHOWN = 10  # lines; a longer text is told by its end
SURE = 0.6  # a word below this is amber


def draw_transcript(found: Transcript) -> Image.Image:
    """RGB, 640 wide."""
    lines = _lines(found)
    image = Image.new("RGB", (WIDTH, HEAD + ROW * max(1, min(len(lines), SHOWN)) + 20), PAPER)
    draw = ImageDraw.Draw(image)
    colour = GREEN if found.verdict == "read" else AMBER if found.words else GREY
    draw.rectangle((0, 0, 10, image.height), fill=colour)
    sure = "" if found.confidence is None else f"   confidence {found.confidence:.2f}"
    head = f"{len(found.words)} words{sure}" if found.words else found.note[:1].upper() + found.note[1:]
    draw.text((LEFT, 16), head, fill=colour, font=ImageFont.load_default(22))
    if found.verdict == "unsure":
        draw.text((RIGHT, 18), "unsure", fill=AMBER, font=ImageFont.load_default(20), anchor="ra")
    for number, (start_s, words) in enumerate(lines[-SHOWN:]):
        y = HEAD + ROW * number
        draw.text(
            (LEFT, y + 4), f"{int(start_s // 60)}:{start_s % 60:04.1f}", fill=GREY, font=ImageFont.load_default(18)
        )
        x = float(TEXT)
        for word, confidence in words:
            font = ImageFont.load_default(24)
            draw.text((x, y), word, fill=INK if confidence >= SURE else AMBER, font=font)
            x += draw.textlength(word + " ", font)
    return image


def _lines(found: Transcript) -> list[tuple[float, list[tuple[str, float]]]]:
    """Start in seconds, and the words with their confidence; cut where the node is too narrow."""
    draw, font = ImageDraw.Draw(Image.new("RGB", (1, 1))), ImageFont.load_default(24)
    lines: list[tuple[float, list[tuple[str, float]]]] = []
    for cue in found.cues():
        begin = True
        for word in cue:
            said = " ".join(text for text, _ in lines[-1][1]) if lines else ""
            if begin or draw.textlength(f"{said} {word.text}", font) > RIGHT - TEXT:
                lines.append((word.start_s, []))
            lines[-1][1].append((word.text, word.confidence))
            begin = False
    return lines
