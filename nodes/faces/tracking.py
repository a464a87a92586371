"""A file's chosen face, and a contact sheet that shows what was found."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...synclip_core.errors import SyncLipError
from ...synclip_core.faces.crop import decode_side
from ...synclip_core.faces.selection import Choice, TrackCollector, select_tracks
from ...synclip_core.faces.track_output import TrackChunk, TrackOptions
from ...synclip_core.faces.tracking import FaceTracker
from ...synclip_core.media.info import probe
from ...synclip_core.media.video import SourceFrame, iter_ticks
from ..shared.progress import counted
from ..shared.values import Faces

SHOWN, COLUMNS, CELL = 6, 3, 320


def track_file(
    path: Path, choice: Choice, missing: str, crop_size: int, margin: float, device: str
) -> tuple[Faces, Image.Image]:
    """The faces of a video, followed in one pass, and a picture of some frames with boxes around them."""
    info = probe(path)
    if not info.has_video:
        raise SyncLipError(f"{path}: no video track; expected a video with a face.")
    reader = iter_ticks(path, max_side=None if margin else decode_side(crop_size))
    wanted = {int((k + 0.5) * reader.expected / SHOWN) for k in range(SHOWN)}
    shown: dict[int, Image.Image] = {}
    collector = TrackCollector()
    chunks: list[TrackChunk] = []
    shape: tuple[int, ...] = (info.height, info.width)

    def watched() -> Iterator[tuple[int, SourceFrame]]:
        nonlocal shape
        for tick, frame in counted(reader, reader.expected, lambda pair: pair[1].image):
            shape = frame.image.shape
            if tick in wanted:
                shown[tick] = Image.fromarray(frame.image)
                shown[tick].thumbnail((CELL * 2, CELL * 2))
            yield tick, frame

    try:
        for chunk in FaceTracker(TrackOptions(crop_size, margin, missing=missing), device=device).run(watched()):
            collector.add(chunk)
            chunks.append(chunk)
    finally:
        reader.close()
    scale = info.width / shape[1]
    if isinstance(choice, tuple):
        choice = (choice[0] / scale, choice[1] / scale)
    chosen = select_tracks(collector.summaries(), choice)
    faces = Faces(
        chunks=[_scaled(chunk, scale) for chunk in chunks if chunk.track_id in chosen],
        ticks=len(reader.map),
        frame_ticks=reader.map.ticks,
        fps=info.fps,
        seen=len(collector.summaries()),
        size=crop_size,
        margin=margin,
        height=info.height,
        width=info.width,
        warnings=list(reader.warnings),
    )
    return faces, contact_sheet(shown, chunks, chosen, shape[1])


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
