"""What a script learns from `$?`. With several files the worst wins: error, could not tell, out of sync, in sync."""

from collections.abc import Iterable

from ...sync.report import ScoreReport

IN_SYNC = 0
OUT_OF_SYNC = 1
USAGE = 2
CANNOT_TELL = 3
ERROR = 4
INTERRUPTED = 130

_OF_VERDICT = {
    "in_sync": IN_SYNC,
    "audio_early": OUT_OF_SYNC,
    "audio_late": OUT_OF_SYNC,
    "mixed": OUT_OF_SYNC,
    "drift": OUT_OF_SYNC,
    "does_not_follow": OUT_OF_SYNC,
    "cannot_tell": CANNOT_TELL,
    "error": ERROR,
}

HELP = (
    "exit codes: 0 all in sync (or done), 1 something is wrong with some (out of sync, drifting, mixed, not "
    "following, a face of --still that moves), 2 wrong usage, 3 some could not be judged, "
    "4 some failed, 130 stopped by Ctrl-C. With several files the worst counts: 4, then 3, then 1."
)

CLASSIFY_HELP = (
    "exit codes: 0 all done, 2 wrong usage, 3 some show no face, 4 some failed, 130 stopped by Ctrl-C. "
    "With several files the worst counts: 4, then 3."
)

RENDER_HELP = "exit codes: 0 all rows done, 2 wrong usage, 4 some failed or could not run, 130 stopped by Ctrl-C"


def exit_code(reports: Iterable[ScoreReport]) -> int:
    """The code for a run over several files."""
    return max((max(_OF_VERDICT[report.verdict], _of_still(report)) for report in reports), default=IN_SYNC)


def of_verdicts(verdicts: Iterable[str]) -> int:
    """The same; codes grow with how bad things are, so the worst is the largest."""
    return max((_OF_VERDICT[verdict] for verdict in verdicts), default=IN_SYNC)


def _of_still(report: ScoreReport) -> int:
    """Of the faces that should not talk."""
    if any(row["moves"] is None for row in report.still):
        return CANNOT_TELL
    return OUT_OF_SYNC if any(row["moves"] or row["follows"] for row in report.still) else IN_SYNC
