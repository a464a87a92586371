"""Fit on the validation split what `synclip_core.sync.along.evidence` knows of a checkpoint; report on another one.

1. own lag of every clip: 0 where it is trusted, else the lag on which both of its halves agree
2. margin: do the ends of a file vote for lag 0 under another person's sound? Then ticks that know an end do not count
3. nats: log ratio of the densities of contrast, pairs at the own lag against pairs elsewhere, made monotone
4. share: of its nats that a pair counts with, so that the posterior of known lags on cuts is likeliest
5. logit: logistic regression of "right within a frame" on the posterior, the length and the sight of the face
6. answer: the probability from which at most 1 % of the answers are wrong; doubt: beyond what all clips with a lag show
   but one in a hundred (and one at least: a clip whose sound is not its own all along must not set it alone)
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from synclip_core.errors import SyncLipError
from synclip_core.pipeline import SyncPipeline
from synclip_core.sync.along.evidence import Evidence

from ..provider import token_reach
from .fit import doubt_limit, doubts_of, ends_vote, fit_answer, fit_logit, fit_nats, fit_share, pairs_of, probabilities
from .text import answer_rows, evidence_text, reliability_rows
from .trials import both_nats, cuts_of, own_lags, read_split, report_trials, trial_of

__all__ = ["evidence_text", "fit_evidence"]


def fit_evidence(
    pipeline: SyncPipeline,
    data: Path,
    split: str = "val",
    report: str = "test",
    *,
    cache: Path | None = None,
    seed: int = 0,
    draws: int = 8,
) -> dict[str, Any]:
    """Returns {"evidence": for the checkpoint, "tables": on `split` and on `report`}. SyncLipError on a test split."""
    if split.startswith("test"):
        raise SyncLipError(f"evidence: split {split!r} is for reporting only; fit on the validation split")
    clips = read_split(pipeline, data, split, cache)
    if len(clips) < 2:
        raise SyncLipError(f"{data}, split {split}: expected at least two clips that can be read")
    vote = ends_vote(pipeline, clips, seed)
    margin = max(token_reach(pipeline.model.config, pipeline.context)) if vote > 0.16 else 0
    lags = own_lags(pipeline, clips, margin)

    pairs = pairs_of(pipeline, clips, lags, margin)
    contrast, nats, weak = map(tuple, fit_nats(pairs))
    evidence = Evidence(contrast, nats, 1.0, weak, margin)

    cuts = [
        (file, seconds, kind, truth, told, *both_nats(told, evidence))
        for file, seconds, kind, truth, told in cuts_of(pipeline, clips, lags, seed, draws)
    ]
    evidence = replace(evidence, share=fit_share(cuts))
    share = evidence.share
    trials = [trial_of(f, s, k, t, told, share * nats, share * weak) for f, s, k, t, told, nats, weak in cuts]
    evidence = replace(evidence, logit=fit_logit(trials))
    evidence = replace(evidence, answer=fit_answer(trials, probabilities(trials, evidence)))
    doubts = doubts_of(pipeline, clips, lags, evidence)
    evidence = replace(evidence, doubt=doubt_limit(list(doubts.values())))
    tables = {
        f"Cuts of {split}": answer_rows(trials, evidence),
        f"Reliability, {split}": reliability_rows(trials, evidence),
    }
    if report:
        shown = report_trials(pipeline, read_split(pipeline, data, report, cache), evidence, seed, draws)
        tables |= {
            f"Cuts of {report}": answer_rows(shown, evidence),
            f"Reliability, {report}": reliability_rows(shown, evidence),
        }
    return {
        "command": "evidence",
        "checkpoint": pipeline.checkpoint.sha256,
        "split": split,
        "seed": seed,
        "draws": draws,
        "clips": {split: len(clips)},
        "with_a_lag": len(lags),
        "ends_vote": round(vote, 3),
        "largest_doubts": {file: round(d, 2) for file, d in sorted(doubts.items(), key=lambda item: -item[1])[:5]},
        "evidence": _rounded(evidence.to_dict()),
        "tables": tables,
    }


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: [round(v, 5) for v in value] if isinstance(value, (tuple, list)) else round(value, 5)
        for name, value in values.items()
    }
