"""The pack's own socket types. A name is public API: saved workflows hold it."""

from collections.abc import Collection

from comfy_api.latest import io

from ...synclip_core.errors import SyncLipError
from ...synclip_core.faces.selection import parse_choice
from ...synclip_core.faces.track_output import POLICIES

CATEGORY = "SyncLip"

Model = io.Custom("SYNCLIP_MODEL")
Faces = io.Custom("SYNCLIP_FACES")
Tokens = io.Custom("SYNCLIP_TOKENS")
AudioPack = io.Custom("SYNCLIP_AUDIOPACK")
Report = io.Custom("SYNCLIP_REPORT")
# Boxes as several packs hand them on: one box or a list, a frame each.
Boxes = io.Custom("BBOX")

FACE_TOOLTIP = (
    "Which face, where there are several: auto (the main one), largest, longest, a number (0 is the leftmost face) "
    "or a point x,y in pixels."
)
MISSING_TOOLTIP = (
    "What to do where the face is not seen. hold: stay where it was seen last; interpolate: move on to where it is "
    "seen next; skip: leave those frames out; error: stop there."
)
MISSING = list(POLICIES)


def model_input() -> io.Input:
    """The model, for nodes that can do with the bundled one."""
    return Model.Input("model", optional=True, tooltip="Nothing connected: the bundled checkpoint.")


def max_lag_input() -> io.Input:
    """The search range of both Sync Score nodes."""
    return io.Int.Input(
        "max_lag",
        default=15,
        min=5,
        max=125,
        tooltip="How far the curve reaches, in frames at 25 fps (15 is 600 ms) to either side. Lags of up to 5 s are "
        "always searched.",
    )


def one_of(**fields: tuple[str | None, Collection[str]]) -> bool | str:
    """For validate_inputs, since not every ComfyUI checks a choice itself: True, or what is wrong with a field.

    A value of None comes by a link and is not known yet.
    """
    for name, (value, options) in fields.items():
        if value is not None and value not in options:
            return f"{name}={value!r} is not in the list: {', '.join(options)}"
    return True


def wrong_face(face: str | None) -> str:
    """What is wrong with a choice of a face; empty where nothing is, or where it comes by a link."""
    try:
        if face is not None:
            parse_choice(face)
    except SyncLipError as error:
        return str(error)
    return ""
