"""Sync Score from token streams."""

from comfy_api.latest import io

from ...synclip_core.sync.along.evidence import REACH
from ...synclip_core.sync.along.judge import judge
from ...synclip_core.sync.measure import measure_sync
from ...synclip_core.sync.plot import draw_report
from ...synclip_core.sync.report import ScoreReport
from ..shared import sockets
from ..shared.managed_model import ManagedModel, bundled
from ..shared.values import Tokens, paired
from .score_output import outputs, score_output


class SyncScoreTokens(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipSyncScoreTokens",
            display_name="Sync Score (Tokens)",
            category=sockets.CATEGORY,
            description="Is this mouth in sync with that voice? The two may come from different files.",
            inputs=[
                sockets.Tokens.Input("audio_tokens", tooltip="From Encode Audio Tokens."),
                sockets.Tokens.Input("vocal_tokens", tooltip="From Encode Vocal-Motion Tokens."),
                sockets.Model.Input(
                    "model",
                    optional=True,
                    tooltip="The model that made the tokens: its checkpoint says how sure a verdict must be. Nothing "
                    "connected: the bundled one.",
                ),
                sockets.max_lag_input(),
            ],
            outputs=outputs(),
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, audio_tokens: Tokens, vocal_tokens: Tokens, max_lag: int, model: ManagedModel | None = None
    ) -> io.NodeOutput:
        audio, vocal = paired(audio_tokens, vocal_tokens)
        known = (model or bundled()).checkpoint
        given = (audio.values, vocal.values, vocal.mask, audio.mask)
        timeline = judge(*given, vocal.look, evidence=known.evidence, reach=max(max_lag, REACH))
        result = measure_sync(*given, max_lag=max_lag, thresholds=known.thresholds)
        report = ScoreReport.from_timeline("tokens", result, timeline, vocal.faces)
        return score_output(cls, report, draw_report(report))
