"""`python -m train.vsr_tradeoff --config train/configs/vsr_tradeoff.yaml --out runs/tradeoff`: reading against sync.

SyncTalklip's question (SyncTalklip, section 3.2): what does training to read do to the alignment of audio
and vocal tokens, and what does the alignment loss cost in words? Each variant starts from the same reader and
checkpoint; the table gives word errors and the sync figures of the same clips. Resumable.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synclip_core.checkpoint import load_checkpoint
from synclip_core.errors import SyncLipError
from synclip_core.models.synclipmae import SyncLipMAE, normalise
from synclip_core.reading.read import read_lips
from synclip_core.reading.reader_file import Reader, load_reader
from train.data.texts import read_corpus
from train.evaluate.tables import format_table, write_json
from train.pretrain.config import read_config
from train.pretrain.validation import Judged, sync_figures
from train.reading.batches import plain_tokens
from train.reading.config import AlignConfig, VsrTrainConfig
from train.reading.features import Utterance, load_utterances
from train.reading.finetune import finetune
from train.reading.score import ErrorRate

VARIANTS = {
    "reading alone": AlignConfig(),
    "reading + L1": AlignConfig(loss="l1"),
    "reading + L1 behind a convolution": AlignConfig(loss="conv"),
    "reading + L1, audio frozen": AlignConfig(loss="l1", audio="frozen"),
}


@torch.inference_mode()
def judge_both(model: SyncLipMAE, reader: Reader, utterances: list[Utterance]) -> dict[str, Any]:
    """WER, CER, and the sync figures of whole clips as they are, in percent."""
    errors, judged = ErrorRate(), []
    for utterance in utterances:
        vocal = plain_tokens(model.vocal, utterance)
        wave = torch.from_numpy(utterance.audio.astype(np.float32))[None]
        judged.append(Judged(normalise(model.audio_tokens(wave))[0].numpy(), vocal, utterance.valid))
        errors.add(utterance.spoken.text, read_lips(reader, vocal, utterance.valid).text)
    return {**errors.to_json(), **sync_figures(judged)}


def tradeoff(config_path: Path, out: Path, split: str) -> list[dict[str, Any]]:
    """Trains what is not trained yet; returns the rows of the table."""
    config = read_config(VsrTrainConfig, config_path)
    corpus = read_corpus(config.data.texts, config.data.layout)
    start = load_checkpoint(None)
    utterances = load_utterances(start, config.data.shards, split, corpus, 1, out / "features")
    rows = [{"variant": "start", **judge_both(start.model, load_reader(config.init), utterances)}]
    for name, align in VARIANTS.items():
        folder = out / name.replace(" ", "-").replace(",", "")
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "features").exists():
            (folder / "features").symlink_to((out / "features").resolve(), target_is_directory=True)
        finetune(replace(config, align=replace(align, weight=config.align.weight, tau=config.align.tau)), folder, None)
        model = load_checkpoint(folder / "model.safetensors").model
        rows.append({"variant": name, **judge_both(model, load_reader(folder / "reader.safetensors"), utterances)})
        print(json.dumps(rows[-1]), file=sys.stderr)
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m train.vsr_tradeoff", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/tradeoff"))
    parser.add_argument("--split", default="test", help="of the shards (default: test)")
    options = parser.parse_args(arguments)
    try:
        rows = tradeoff(options.config, options.out, options.split)
    except SyncLipError as error:
        print(f"vsr_tradeoff: {error}", file=sys.stderr)
        return 4
    print(format_table(f"Reading against sync, {options.split}", rows))
    write_json(options.out / f"{options.split}.json", {"rows": rows})
    return 0
