"""Reports as a table for people: as wide as the terminal, coloured only where colours show."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TextIO

from ...sync.report import ScoreReport, verdict_words
from ...text import shorten

_COLOURS = {
    "in_sync": "32", "audio_early": "33", "audio_late": "33", "mixed": "33", "drift": "33", "does_not_follow": "33",
    "cannot_tell": "36", "error": "31",
}  # fmt: skip
MOST_FACES = 12  # that the table lists
_HEAD = ("file", "verdict", "lag", "score", "confidence", "length")


def coloured(stream: TextIO) -> bool:
    """True on a terminal that takes colour (NO_COLOR and TERM=dumb are respected)."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def lag_text(report: ScoreReport) -> str:
    """The lag as "+3 f" (frames at 25 fps), "-" where there is none."""
    if report.lag_frames is None:
        return "-"
    lag = round(report.lag_frames, 1)
    return f"{lag:+g} f" if lag else "0 f"


def render(reports: Sequence[ScoreReport], width: int | None = None, colour: bool = False) -> str:
    """The table, a line a file, then what went wrong in full sentences, then a summary of several files."""
    width = width or shutil.get_terminal_size((100, 24)).columns
    rows = [_row(report) for report in reports]
    columns = [max(len(head), *(len(row[i]) for row in rows)) for i, head in enumerate(_HEAD)]
    # The file name gives way first, then the columns that a person misses least.
    shown = list(range(len(_HEAD)))
    for optional in (5, 4, 3, 2):
        if _total(columns, shown) - columns[0] + min(columns[0], 24) <= width:
            break
        shown.remove(optional)
    columns[0] = max(12, min(columns[0], width - (_total(columns, shown) - columns[0])))
    lines = [_line(_HEAD, columns, shown), "─" * min(_total(columns, shown), width)]
    for report, row in zip(reports, rows, strict=True):
        line = _line([shorten(row[0], columns[0]), *row[1:]], columns, shown)
        lines.append(f"\033[{_COLOURS[report.verdict]}m{line}\033[0m" if colour else line)
    notes = [
        report.error if report.error.startswith(report.file) else f"{report.file}: {report.error}"
        for report in reports
        if report.error
    ]
    lines += ["", *notes] if notes else []
    if len(reports) > 1:
        lines += ["", summary(Counter(report.verdict for report in reports))]
    else:
        lines += ["", *sound(reports[0])] if sound(reports[0]) else []
        lines += ["", *faces(reports[0])] if len(reports[0].tracks) > 1 else []
    return "\n".join(lines)


def sound(report: ScoreReport) -> list[str]:
    """Which sound was judged, where it is not the first of the file itself: "sound: voice.wav"."""
    track = f"audio track {report.audio_track}" if report.audio_track else ""
    named = ", ".join(filter(None, (report.audio, track)))
    return [f"sound: {named}"] if named else []


def faces(report: ScoreReport) -> list[str]:
    """A line a face, those named first that the verdict is about: "face 320,180, 0.0 to 9.8 s: in sync (judged)"."""
    lines = []
    for track in sorted(report.tracks, key=lambda t: (not t["chosen"], t["from"])):
        words = "seen too briefly" if track["verdict"] is None else verdict_words(track["verdict"], track["lag_ms"])
        words = "cannot tell" if track["verdict"] == "cannot_tell" else words
        mark = " (judged)" if track["chosen"] else ""
        lines.append(f"face {track['face']}, {track['from']:.1f} to {track['to']:.1f} s: {words}{mark}")
    more = len(lines) - MOST_FACES
    return [*lines[:MOST_FACES], f"and {more} faces more, see --json"] if more > 0 else lines


def summary(verdicts: Mapping[str, int]) -> str:
    """Of how many files have each verdict: "4 files: 2 in sync, 1 out of sync, 1 failed"."""
    names = {
        "in_sync": "in sync",
        "audio_early": "out of sync",
        "audio_late": "out of sync",
        "mixed": "out of sync in parts",
        "drift": "drifting",
        "does_not_follow": "not following the voice",
        "cannot_tell": "could not be judged",
        "error": "failed",
    }
    counts = dict.fromkeys(names.values(), 0)
    for verdict, count in verdicts.items():
        counts[names[verdict]] += count
    return f"{sum(verdicts.values())} files: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def write(text: str, stream: TextIO | None = None) -> None:
    """Prints whatever the terminal's encoding makes of it rather than failing on a name."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    plain = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if encoding.lower().replace("-", "") != "utf8":
        plain = plain.replace("─", "-").replace("…", "~")
    print(plain.encode(encoding, "replace").decode(encoding), file=stream)


def _row(report: ScoreReport) -> tuple[str, ...]:
    def number(value: float | None, pattern: str) -> str:
        return "-" if value is None else pattern.format(value)

    words = "error" if report.verdict == "error" else report.words
    return (
        report.file,
        words,
        lag_text(report),
        number(report.score, "{:.3f}"),
        number(report.confidence, "{:.3f}"),
        number(report.duration_s, "{:.1f} s"),
    )


def _total(columns: Sequence[int], shown: Sequence[int]) -> int:
    return sum(columns[i] for i in shown) + 2 * (len(shown) - 1)


def _line(cells: Sequence[str], columns: Sequence[int], shown: Sequence[int]) -> str:
    parts = [cells[i].ljust(columns[i]) if i < 2 else cells[i].rjust(columns[i]) for i in shown]
    return "  ".join(parts).rstrip()
