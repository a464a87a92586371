"""`python -m benchmarks.lip_reading --features runs/vsr/features --texts CSV`: sentences in a row, read in windows.

Vocal tokens of GRID sentences are joined to one long stream; prints JSON: seconds of reading per second of video, peak
memory, and word errors of the long stream beside those of the sentences one by one.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from benchmarks.shared.memory import memory_mb
from synclip_core.checkpoint import load_checkpoint
from synclip_core.reading.read import read_lips
from synclip_core.reading.reader_file import load_reader
from train.data.texts import read_corpus, stem
from train.reading.batches import plain_tokens
from train.reading.features import Utterance
from train.reading.score import ErrorRate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, required=True, help="folder that train.finetune_vsr keeps")
    parser.add_argument("--texts", type=Path, required=True, help="grid_s1_align.csv")
    parser.add_argument("--seconds", type=int, nargs="+", default=[60, 600])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    reader, model = load_reader(), load_checkpoint(None).model
    corpus = read_corpus(options.texts, "aligned")
    sentences = []
    for path in sorted(options.features.glob("*-1/*.safetensors")):
        with safe_open(path, "np") as file:
            parts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            spoken = corpus[stem(Path(json.loads(file.metadata()["file"])).name)]
        valid = parts["valid"].astype(bool)
        utterance = Utterance(path.stem, path.stem, spoken, parts["prompts"], valid, parts["audio"])
        sentences.append((plain_tokens(model.vocal, utterance), spoken.text))
    alone = ErrorRate()
    for tokens, said in sentences[:20]:
        alone.add(said, read_lips(reader, tokens, np.ones(len(tokens), bool)).text)
    report = {"threads": options.threads, "sentences_alone": alone.to_json()}
    for seconds in options.seconds:
        count = -(-seconds * 25 // len(sentences[0][0]))
        chosen = [sentences[k % len(sentences)] for k in range(count)]
        tokens = np.concatenate([t for t, _ in chosen])
        began, before = time.perf_counter(), memory_mb("VmRSS")
        found = read_lips(reader, tokens, np.ones(len(tokens), bool))
        spent = time.perf_counter() - began
        errors = ErrorRate()
        errors.add(" ".join(said for _, said in chosen), found.text)
        report[f"{seconds}s"] = {
            "x_real_time": round(spent / (len(tokens) / 25), 3),
            "grew_mb": round(memory_mb("VmRSS") - before, 1),
            "wer": round(errors.wer, 2),
        }
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
