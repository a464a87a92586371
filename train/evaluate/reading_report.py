"""Word and character error rates of a lip reader on the clips of a split that have a text (evaluation.md)."""

from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from synclip_core.errors import SyncLipError
from synclip_core.pipeline import SyncPipeline
from synclip_core.reading.beam import SearchOptions
from synclip_core.reading.read import read_lips
from synclip_core.reading.reader_file import Reader
from train.data.texts import Spoken, read_corpus, text_of
from train.reading.score import ErrorRate

from .clips import SUBSETS, read_clips
from .tables import format_table

OTHER_SPEAKERS = Path(__file__).parent / "grid_speakers.csv"  # the sentences of GRID's other speakers, by file


def read_texts(data: Path, texts: Path | None, layout: str) -> dict[str, Spoken]:
    """What the clips of DATA say; by default GRID's alignments there and the sentences of other GRID speakers."""
    if texts:
        return read_corpus(texts, layout)
    return read_corpus(data / "grid_s1_align.csv", "aligned") | read_corpus(OTHER_SPEAKERS, "csv")


def evaluate_vsr(
    data: Path, split: str, pipeline: SyncPipeline, reader: Reader, texts: dict[str, Spoken], options: SearchOptions
) -> dict[str, Any]:
    """WER, CER and confidence by subset; clips without a text are read too, for their confidence alone."""
    reader.check(pipeline.checkpoint.sha256)
    clips, _ = read_clips(data, split)
    rows: dict[str, dict[str, Any]] = {}
    readings, errors = [], {subset: ErrorRate() for subset in SUBSETS}
    sure: dict[str, list[float]] = {subset: [] for subset in SUBSETS}
    verdicts: dict[str, list[str]] = {subset: [] for subset in SUBSETS}
    for clip in tqdm(clips, desc=f"vsr, {split}", unit="clip"):
        try:
            streams = pipeline.tokens(clip.path, sound=False)
        except SyncLipError as error:
            readings.append({"file": clip.file, "error": str(error)})
            continue
        found = read_lips(reader, streams.vocal, streams.valid, options=options)
        spoken = text_of(texts, clip.file)
        if spoken is not None:
            errors[clip.subset].add(spoken.text, found.text)
        sure[clip.subset].append(found.confidence or 0.0)
        verdicts[clip.subset].append(found.verdict)
        said = spoken.text if spoken else None
        readings.append({"file": clip.file, "said": said, "read": found.text, "confidence": found.confidence})
    for subset in SUBSETS:
        if verdicts[subset]:
            judged = errors[subset]
            rows[subset] = {
                "clips": len(verdicts[subset]),
                "with text": len(judged.said),
                "WER %": round(judged.wer, 2) if judged.said else None,
                "CER %": round(judged.cer, 2) if judged.said else None,
                "whole right %": round(
                    100 * float(np.mean([a == b for a, b in zip(judged.said, judged.read, strict=True)])), 1
                )
                if judged.said
                else None,
                "confidence": round(float(np.mean(sure[subset])), 3),
                "read": verdicts[subset].count("read"),
                "unsure": verdicts[subset].count("unsure"),
                "nothing": verdicts[subset].count("nothing"),
            }
    search = {"beam": options.beam, "ctc_weight": options.ctc_weight, "language_model": None}
    return {
        "task": "vsr",
        "split": split,
        "search": search,
        "clips": {k: v["clips"] for k, v in rows.items()},
        "rows": rows,
        "readings": readings,
    }


def vsr_text(report: dict[str, Any]) -> str:
    search = report["search"]
    title = (
        f"Lip reading, {report['split']} (beam {search['beam']}, CTC weight {search['ctc_weight']}, no language model)"
    )
    table = format_table(title, [{"subset": name, **row} for name, row in report["rows"].items()])
    wrong = [r for r in report["readings"] if r.get("said") and r["said"] != r["read"]][:10]
    return "\n".join([table, "", "First misreadings", *(f"  {r['said']}  ->  {r['read']}" for r in wrong)])
