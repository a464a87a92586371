"""A cell of the manifest becomes a value of the workflow's own type."""

import math
import re
from typing import Any

from ..errors import SyncLipError

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def convert(text: str, present: Any) -> Any:
    """`text` in the type of `present`, the value that the workflow has now: bool, int, float or str.

    Where the workflow has a whole number, a fraction passes as float: ComfyUI writes 1.0 as 1 when it exports, so only
    a server knows which it is (`check.check_fractions`). Raises SyncLipError with what was expected and what came.
    """
    if isinstance(present, str):
        return text
    text = text.strip()
    if isinstance(present, bool):
        if text.lower() not in _WORDS:
            raise SyncLipError(f"expected true or false, got {text!r}")
        return _WORDS[text.lower()]
    if not isinstance(present, int | float):
        raise SyncLipError(f"the workflow's value {present!r} is not one that a cell can replace")
    if isinstance(present, int) and re.fullmatch(r"[+-]?[0-9]+", text):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SyncLipError(f"expected a number, got {text!r}")
    return number
