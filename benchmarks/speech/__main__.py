"""The detector of speech against one of energy, tick by tick, on sounds whose speech is known.

    python -m benchmarks.speech --data ../shared/data [--split test] [--clips 100] [--music FOLDER] [--out speech.json]

Sentences of GRID's speaker s1 with the times of their words, as they are, quieter, and with music and noise so many dB
below the words; then sounds without any speech. `music` is train/data/music.py, `pop`, `pink` and `white` are
benchmarks/worse/sound.py, `recorded` are the files of --music. Every sentence has its own piece (seed: its number).

Of each condition: AUC of the probability (trained) and of the level over its threshold (energy) over the ticks that lie
wholly in a word or in a pause; the share of word ticks found and of pause ticks taken for speech. Of sounds without
speech: the share taken for speech. On the split "val" also what the thresholds and the delay were chosen by.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speech.energy import energy
from benchmarks.speech.sounds import backgrounds, mixed, sentences, without_speech
from synclip_core.clock import RATE
from synclip_core.media.speech import SpeechStream, speech_ticks
from synclip_core.media.speech.mask import LATE
from synclip_core.metrics.classification import auc
from train.evaluate.tables import write_json

ALONE = 20  # pieces of each background
PAIRS = [(b, s) for b in (0.3, 0.5, 0.7, 0.9) for s in (0.15, 0.25, 0.35, 0.5) if s <= b]  # begins, lasts


def probability(sound: np.ndarray, late: int = LATE) -> np.ndarray:
    stream = SpeechStream(late)
    stream.push(sound)
    return stream.finish()


class Ticks:
    """Of the ticks of one condition that lie wholly in words or pauses: the truth, and what the detectors say."""

    def __init__(self) -> None:
        self.columns: dict[str, list[np.ndarray]] = {}

    def add(self, **columns: np.ndarray) -> None:
        for name, column in columns.items():
            self.columns.setdefault(name, []).append(column)

    def __getitem__(self, name: str) -> np.ndarray:
        return np.concatenate(self.columns[name])

    def row(self, name: str) -> dict[str, Any]:
        truth = self["truth"]
        found = {"condition": name, "ticks": len(truth)}
        for kind in ("trained", "energy"):
            mask = self[f"{kind}_mask"]
            found[kind] = {
                "auc": round(auc(self[kind], truth), 4),
                "found": round(float(mask[truth].mean()), 4),
                "false": round(float(mask[~truth].mean()), 4),
            }
        return found


def measure(args: argparse.Namespace) -> dict[str, Any]:
    spoken, behind = sentences(args.data, args.split, args.clips), backgrounds(args.music)
    conditions: dict[str, Ticks] = {}
    for seed, sentence in enumerate(spoken):
        told = sentence.words | sentence.pauses
        for name, sound in mixed(sentence, seed, behind):
            trained, (level, mask) = probability(sound), energy(sound)
            ticks = conditions.setdefault(name, Ticks())
            ticks.add(truth=sentence.words[told], trained=trained[told], energy=level[told])
            ticks.add(trained_mask=speech_ticks(trained)[told], energy_mask=mask[told])
            if args.split == "val":
                pairs = [speech_ticks(trained, *pair)[told] for pair in PAIRS]
                ticks.add(pairs=np.stack(pairs, 1))
                if name == "clean":
                    ticks.add(**{f"late_{late}": probability(sound, late)[told] for late in range(6)})
    alone: dict[str, list[tuple[float, float]]] = {}
    for name, sound in without_speech(ALONE, behind):
        shares = float(speech_ticks(probability(sound)).mean()), float(energy(sound)[1].mean())
        alone.setdefault(name, []).append(shares)
    report: dict[str, Any] = {
        "split": args.split,
        "clips": len(spoken),
        "conditions": [ticks.row(name) for name, ticks in conditions.items()],
        "without_speech": [
            {
                "kind": name,
                "seconds": round(10 * len(rows)),
                "trained": round(float(np.mean([r[0] for r in rows])), 4),
                "energy": round(float(np.mean([r[1] for r in rows])), 4),
            }
            for name, rows in alone.items()
        ],
        "cpu_share_of_real_time": cost(spoken[0].sound),
    }
    if args.split == "val":
        report["thresholds"] = [_pair(conditions, k) for k in range(len(PAIRS))]
        clean = conditions["clean"]
        report["late"] = {late: round(auc(clean[f"late_{late}"], clean["truth"]), 4) for late in range(6)}
    return report


def _pair(conditions: dict[str, Ticks], number: int) -> dict[str, float]:
    """Mean over all conditions."""
    masks = [(ticks["pairs"][:, number], ticks["truth"]) for ticks in conditions.values()]
    found = float(np.mean([mask[truth].mean() for mask, truth in masks]))
    false = float(np.mean([mask[~truth].mean() for mask, truth in masks]))
    begins, lasts = PAIRS[number]
    return {"begins": begins, "lasts": lasts, "found": round(found, 4), "false": round(false, 4)}


def cost(sound: np.ndarray) -> float:
    """CPU seconds a second of sound, on a minute."""
    minute = np.resize(sound, 60 * RATE)
    probability(minute)
    start = time.process_time()
    probability(minute)
    return round((time.process_time() - start) / 60, 5)


def table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['clips']} clips of {report['split']}; AUC, share of word and of pause ticks taken for speech",
        "",
    ]
    lines += ["| | trained | energy |", "|---|---|---|"]
    for row in report["conditions"]:
        cells = [f"{k['auc']:.3f}, {100 * k['found']:.0f} %, {100 * k['false']:.0f} %" for k in both(row)]
        lines.append(f"| {row['condition']} | {' | '.join(cells)} |")
    lines += [
        f"| {row['kind']} ({row['seconds']} s) | {' | '.join(f'{100 * k:.1f} %' for k in both(row))} |"
        for row in report["without_speech"]
    ]
    for row in report.get("thresholds", []):
        lines.append(
            f"begins {row['begins']}, lasts {row['lasts']}: found {row['found']:.3f}, false {row['false']:.3f}"
        )
    if "late" in report:
        lines.append(f"AUC by windows that the answers are late: {report['late']}")
    return "\n".join([*lines, f"CPU seconds a second of sound: {report['cpu_share_of_real_time']}"])


def both(row: dict[str, Any]) -> tuple[Any, Any]:
    return row["trained"], row["energy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--clips", type=int, default=100, help="sentences at most (default: 100)")
    parser.add_argument("--music", type=Path, metavar="FOLDER", help="recorded music without a voice")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    report = measure(args)
    print(table(report), file=sys.stderr)
    print(json.dumps(report))
    if args.out:
        write_json(args.out, report)


if __name__ == "__main__":
    main()
