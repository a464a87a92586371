"""Sync Gate: what is out of sync goes no further, so that a bad generation is rolled again and not saved."""

from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ...synclip_core.errors import SyncLipError
from ...synclip_core.sync.report import ScoreReport
from ..shared import sockets
from ..shared.panel import AMBER, GREEN, draw_message
from ..shared.tensors import picture_to_image, shown

ON_FAIL = ["hold it back", "stop with an error"]
UNCLEAR = ["fail", "pass"]


class SyncGate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipSyncGate",
            display_name="Sync Gate",
            category=sockets.CATEGORY,
            description="Lets through what is in sync and holds the rest back, one by one in a batch.",
            inputs=[
                sockets.Report.Input("report", tooltip="From Sync Score, of the video that is to pass."),
                io.AnyType.Input("value", tooltip="What is to pass: a video, images, a latent, a file name."),
                io.Float.Input(
                    "max_lag_ms",
                    default=40.0,
                    min=0.0,
                    max=5000.0,
                    step=1.0,
                    tooltip="The largest lag that passes, to either side. 40 ms is one frame at 25 fps; viewers "
                    "notice from 45 ms early or 125 ms late on (ITU-R BT.1359).",
                ),
                io.Float.Input(
                    "min_score",
                    default=0.0,
                    min=-2.0,
                    max=2.0,
                    step=0.01,
                    tooltip="The lowest score that passes. 0: no limit. Scores compare within one checkpoint only.",
                ),
                io.Combo.Input(
                    "unclear",
                    options=UNCLEAR,
                    default=UNCLEAR[0],
                    tooltip="Where it cannot be told: the verdict is cannot_tell (no face, no speech, a mouth that fits"
                    " nowhere), or a part with speech cannot be judged. fail: hold it back; pass: let it through.",
                ),
                io.Combo.Input(
                    "on_fail",
                    options=ON_FAIL,
                    default=ON_FAIL[0],
                    tooltip="hold it back: nodes after `passed` do not run for it; stop with an error: the run ends.",
                ),
                io.Float.Input(
                    "min_follows",
                    default=0.95,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="The least share of the speech in which the lips must be seen to follow the voice. 0: no "
                    "limit.",
                ),
            ],
            outputs=[
                io.AnyType.Output(display_name="passed", tooltip="The value, where it is in sync."),
                io.AnyType.Output(display_name="failed", tooltip="The value, where it is not."),
                io.Boolean.Output(display_name="ok", tooltip="Did it pass?"),
                io.String.Output(display_name="why", tooltip="The reason, in words."),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, unclear: str = UNCLEAR[0], on_fail: str = ON_FAIL[0]) -> bool | str:
        return sockets.one_of(unclear=(unclear, UNCLEAR), on_fail=(on_fail, ON_FAIL))

    @classmethod
    def execute(
        cls,
        report: ScoreReport,
        value: Any,
        max_lag_ms: float,
        min_score: float,
        unclear: str,
        on_fail: str,
        min_follows: float = 0.95,
    ) -> io.NodeOutput:
        why = objection(report, max_lag_ms, min_score, unclear == "pass", min_follows)
        if why and on_fail == ON_FAIL[1]:
            raise SyncLipError(f"Sync Gate: {why}. Set on_fail to hold such results back instead.")
        held = ExecutionBlocker(None)
        words = f"held back: {why}" if why else f"passed: {report.words}"
        picture = picture_to_image(draw_message(words, AMBER if why else GREEN))
        return io.NodeOutput(
            held if why else value,
            value if why else held,
            not why,
            words,
            ui=shown(cls, picture, text=(words,), synclip_gate=({"ok": not why, "why": words},)),
        )


def objection(
    report: ScoreReport, max_lag_ms: float, min_score: float, unclear_passes: bool, min_follows: float = 0.95
) -> str:
    """Why a report does not pass; empty where it does. The worst stretch counts, and the share that follows."""
    if report.verdict in ("cannot_tell", "error"):
        return "" if unclear_passes else report.words
    if report.verdict == "does_not_follow":
        return report.words if min_follows > 0 else ""
    worst = report.lag_ms if report.worst_lag_ms is None else report.worst_lag_ms
    if worst is not None and abs(worst) > max_lag_ms:
        if report.verdict in ("mixed", "drift"):
            return f"{report.words}: {abs(worst):.0f} ms at worst, more than {max_lag_ms:g} ms"
        return (
            f"{report.words}, more than {max_lag_ms:g} ms"
            if report.verdict != "in_sync"
            else (f"off by {abs(worst):g} ms, more than {max_lag_ms:g} ms")
        )
    if report.follows is not None and report.follows < min_follows:
        return f"{report.words}: the lips follow {100 * report.follows:.0f} %, less than {100 * min_follows:.0f} %"
    if not unclear_passes and (why := _unjudged(report, min_follows)):
        return why
    if min_follows > 0 and any(s["state"] in ("still", "moves_in_silence") and _wrong(s) for s in report.stretches):
        return report.words
    if min_score and (report.score is None or report.score < min_score):
        return f"score {report.score or 0:.3f} is below {min_score:g}"
    return ""


def _unjudged(report: ScoreReport, min_follows: float) -> str:
    """How much speech lies in stretches that cannot be judged, where that is too much; a second never is."""
    said = sum(s["speech_s"] for s in report.stretches)
    unclear = sum(s["speech_s"] for s in report.stretches if s["state"] == "cannot_tell")
    if unclear <= max(1.0, (1 - min_follows) * said):
        return ""
    return f"{report.words}, but {unclear:.1f} of {said:.1f} s of speech cannot be judged"


def _wrong(stretch: dict[str, Any]) -> bool:
    """A still picture is wrong where the voice goes on."""
    return stretch["state"] != "still" or stretch["speech_s"] >= 0.5
