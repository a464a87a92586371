"""A file's chosen face, and a contact sheet that shows what was found."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...synclip_core.faces.crop import decode_side
from ...synclip_core.faces.selection import Choice
from ...synclip_core.faces.track_output import TrackChunk, TrackOptions
from ...synclip_core.faces.tracking import FaceTracker
from ...synclip_core.follow import FacePass
from ...synclip_core.media.video import SourceFrame
from ..shared.progress import Bar
from ..shared.values import Faces

SHOWN, COLUMNS, CELL = 6, 3, 320


def track_file(
    path: Path, choice: Choice, missing: str, crop_size: int, margin: float, device: str
) -> tuple[Faces, Image.Image]:
    """The faces of a video, followed in one pass, and a picture of some frames with boxes around them."""
    shown: dict[int, Image.Image] = {}
    chunks: list[TrackChunk] = []
    wanted: set[int] = set()
    bar = Bar()

    def look(tick: int, expected: int, frame: SourceFrame) -> None:
        bar.show(tick + 1, max(expected, tick + 1), lambda: frame.image)
        if tick in wanted:
            shown[tick] = Image.fromarray(frame.image)
            shown[tick].thumbnail((CELL * 2, CELL * 2))

    tracker = FaceTracker(TrackOptions(crop_size, margin, missing=missing), device=device)
    with FacePass(path, tracker, None if margin else decode_side(crop_size), look) as found:
        wanted |= {int((k + 0.5) * found.expected / SHOWN) for k in range(SHOWN)}
        chunks += found
    info, scale = found.info, found.info.width / found.shape[1]
    chosen = found.choose(choice)
    faces = Faces(
        chunks=[_scaled(chunk, scale) for chunk in chunks if chunk.track_id in chosen],
        ticks=len(found.map),
        frame_ticks=found.map.ticks,
        fps=info.fps,
        seen=len(found.summaries()),
        size=crop_size,
        margin=margin,
        height=info.height,
        width=info.width,
        warnings=list(found.warnings),
    )
    return faces, contact_sheet(shown, chunks, chosen, found.shape[1])


def _scaled(chunk: TrackChunk, scale: float) -> TrackChunk:
    """Positions in the full picture, where they were found in a reduced one."""
    if scale == 1:
        return chunk
    return replace(
        chunk,
        transforms=chunk.transforms * np.float32(scale),
        landmarks=chunk.landmarks * np.float32(scale),
        boxes=chunk.boxes * np.float32(scale),
    )


GREEN, AMBER, GREY = (64, 200, 120), (240, 170, 50), (150, 150, 150)


def contact_sheet(
    shown: dict[int, Image.Image], chunks: list[TrackChunk], chosen: list[int], width: int
) -> Image.Image:
    """Frames with boxes: green for the chosen face, amber where its place is guessed, grey for the others.

    shown: tick -> picture; width: of the frames that the chunks' boxes are measured in.
    """
    cells = [_cell(tick, picture, chunks, chosen, width) for tick, picture in sorted(shown.items())]
    columns = min(COLUMNS, len(cells)) or 1
    height = max((cell.height for cell in cells), default=CELL)
    sheet = Image.new(
        "RGB", (columns * (CELL + 4) - 4, -(-len(cells) // columns) * (height + 4) - 4 or CELL), (24, 24, 24)
    )
    for k, cell in enumerate(cells):
        sheet.paste(cell, ((k % columns) * (CELL + 4), (k // columns) * (height + 4)))
    return sheet


def _cell(tick: int, picture: Image.Image, chunks: list[TrackChunk], chosen: list[int], width: int) -> Image.Image:
    zoom = CELL / width
    cell = picture.resize((CELL, max(1, round(picture.height * CELL / picture.width))))
    draw, font = ImageDraw.Draw(cell), ImageFont.load_default(24)
    found = [(chunk, tick - int(chunk.ticks[0])) for chunk in chunks if chunk.ticks[0] <= tick <= chunk.ticks[-1]]
    for chunk, row in found:
        box = [float(v) * zoom for v in chunk.boxes[row]]
        mine = chunk.track_id in chosen
        colour = (GREEN if chunk.valid[row] else AMBER) if mine else GREY
        draw.rectangle(box, outline=colour, width=5 if mine else 2)
    label = f"{tick / 25:.1f} s" + ("" if found else "   no face")
    draw.rectangle((0, 0, draw.textlength(label, font) + 16, 34), fill=(24, 24, 24))
    draw.text((8, 4), label, fill=(235, 235, 235) if found else AMBER, font=font)
    return cell
