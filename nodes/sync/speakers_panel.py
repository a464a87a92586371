"""Faces and when each of them talks, at the size of a node. Dark, as ComfyUI is."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from ...synclip_core.sync.speakers import FaceScore
from ..shared.panel import AMBER, FAINT, GREEN, GREY, INK, PANEL, PAPER, write

WIDTH, ROW, HEAD, FOOT = 640, 120, 52, 40
LEFT, RIGHT = 136, 616
SHOWN = 8  # faces; a crowd's rest is told in a line


def draw_speakers(faces: Sequence[FaceScore]) -> Image.Image:
    """faces: the likeliest speaker first. RGB, 640 wide, a row a face."""
    rows = list(faces[:SHOWN])
    image = Image.new("RGB", (WIDTH, HEAD + ROW * max(1, len(rows)) + FOOT), PAPER)
    draw = ImageDraw.Draw(image)
    end = max((face.last_s for face in faces), default=1.0)
    write(draw, 24, 14, _title(faces), 24, GREEN if faces and faces[0].talks else GREY)
    for number, face in enumerate(rows):
        _row(image, draw, HEAD + number * ROW, face, end, first=number == 0)
    if not rows:
        write(draw, 24, HEAD + 36, "No face was found.", 22, INK)
    write(draw, LEFT, image.height - 30, "0 s", 16, GREY)
    write(draw, RIGHT, image.height - 30, f"{end:.1f} s", 16, GREY, "ra")
    if len(faces) > SHOWN:
        write(draw, WIDTH / 2, image.height - 30, f"and {len(faces) - SHOWN} more", 16, GREY, "ma")
    return image


def _title(faces: Sequence[FaceScore]) -> str:
    talking = sum(face.talks for face in faces)
    if not talking:
        return "No mouth fits the voice clearly"
    return "This face talks" if talking == 1 else f"{talking} faces talk; the surest first"


def _row(image: Image.Image, draw: ImageDraw.ImageDraw, top: int, face: FaceScore, end: float, first: bool) -> None:
    colour = (GREEN if first else AMBER) if face.talks else GREY
    image.paste(Image.fromarray(face.picture).resize((96, 96)), (24, top + 8))
    draw.rectangle((24, top + 8, 119, top + 103), outline=colour, width=4 if face.talks else 1)
    confidence = face.timeline.confidence
    sure = "" if confidence is None else f"   confidence {confidence:.2f}"
    words = face.timeline.words.split(":")[0] if face.talks else "does not fit the voice"
    write(draw, LEFT, top + 10, f"{words}{sure}", 20, INK if face.talks else GREY)
    write(draw, LEFT, top + 38, f"face {face.index} (0 is the leftmost), at {face.to_json()['face']} px", 16, GREY)

    def at(seconds: float) -> float:
        return LEFT + seconds / end * (RIGHT - LEFT)

    bar = (top + 66, top + 100)
    draw.rectangle((LEFT, bar[0], RIGHT, bar[1]), fill=PANEL)
    draw.rectangle((at(face.first_s), bar[1] - 4, at(face.last_s), bar[1]), fill=FAINT)  # when it is in the picture
    windows = face.windows()
    for window, following in zip(windows, [*windows[1:], None], strict=True):
        # windows overlap: each stands for the time until the next begins, around its own centre
        step = (following["start_s"] - window["start_s"]) if following else 0.4
        centre = (window["start_s"] + window["end_s"]) / 2
        if window["lag_frames"] is not None:
            draw.rectangle((at(centre - step / 2), bar[0], at(centre + step / 2) - 1, bar[1]), fill=colour)
