"""The report of a training or an evaluation as text."""

from typing import Any

from train.evaluate.tables import format_table, percent, rounded


def tables_text(entries: list[dict[str, Any]]) -> str:
    """Of training.report_tables: features against baselines, then the classes of the head."""
    parts = []
    for entry in entries:
        rows = [
            {
                "features": row["features"],
                "subset": row["subset"],
                "clips": row["clips"],
                "count": row["count"],
                "accuracy %": percent(row["accuracy"]),
                "macro AUC %": percent(row["macro_auc"]),
                "ECE %": percent(row["ece"]),
                "ECE % at T = 1": percent(row["ece_uncalibrated"]),
            }
            for row in entry["rows"]
        ]
        parts.append(format_table(f"{entry['group']} ({entry['kind']})", rows))
        parts.append(classes_text(entry["group"], entry["classes"]))
        chosen = entry.get("chosen_on_val", {})
        lines = [
            f"  {name}: l2 {c['l2']:g}, T {c['temperature']:.3f}, macro AUC on val {percent(c['val_auc'])} %"
            for name, c in chosen.items()
        ]
        parts.append("\n".join(["chosen on val", *lines]) if lines else "")
    return "\n\n".join(part for part in parts if part)


def classes_text(group: str, classes: dict[str, list[dict[str, Any]]]) -> str:
    """A line a label and subset."""
    rows = [
        {
            "label": item["label"],
            "subset": subset,
            "positives": item["positives"],
            "of": item["count"],
            "majority %": percent(item["majority"]),
            "accuracy %": percent(item["accuracy"]),
            "balanced %": percent(item["balanced"]),
            "precision": rounded(item["precision"]),
            "recall": rounded(item["recall"]),
            "AUC %": percent(item["auc"]),
        }
        for subset, items in classes.items()
        for item in items
        if item["count"]
    ]
    return format_table(f"{group}: classes of the head", rows)
