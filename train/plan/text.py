"""A plan and a measurement as tables to read."""

from typing import Any

from train.evaluate.tables import format_table

from .hardware import NODE, NODE_LINK, RESERVE

GIGA = 1e9


def plan_text(report: dict[str, Any]) -> str:
    """All tables of Plan.report."""
    gpu, heaviest = report["gpu"], report["stages"][report["heaviest_stage"]]
    which = f'stage "{heaviest["learn"]}", {heaviest["clips_per_gpu"]} clips a GPU'
    parts = [
        {"part": name, "all": row["all"] / 1e6, "trained": row["trained"] / 1e6}
        for name, row in report["parameters"].items()
    ]
    flops = report["flops_per_frame"]
    work = [{"part": f"{name}, forward", "GFLOP": value / GIGA} for name, value in flops["forward"].items()]
    work += [{"part": name, "GFLOP": flops[name] / GIGA} for name in ("backward", "total")]
    notes = [
        f"{report['precision']}; {report['peak'] / 1e12:.4g} TFLOP/s x {report['mfu']} on a GPU; GB = 1e9 bytes;"
        f" {RESERVE:.0%} of {gpu['memory'] / GIGA:.0f} GB kept in reserve;",
        f"{gpu['link'] / GIGA:.0f} GB/s a GPU inside a node of {NODE},"
        f" {NODE_LINK / GIGA:.0f} GB/s a node between nodes, one direction.",
        "Loading data, validation and checkpoints are not in the time; hours count no overlap of network and compute.",
    ]
    warnings = [text for index, row in enumerate(report["stages"]) for text in warning(index, row)]
    return "\n\n".join(
        [
            f"{report['config']} on {report['gpus']} x {gpu['name']}, ZeRO stage {report['zero']}",
            format_table("Parameters in millions", parts),
            format_table(f"Work a frame ({which})", work),
            format_table("Stages", [stage_row(row) for row in report["stages"]]),
            f"  {report['hours']:.1f} hours in all ({report['hours'] / 24:.1f} days)",
            format_table(f"Memory of a GPU in GB ({which})", [memory_row(row) for row in report["memory"]]),
            format_table(f"Sent by a GPU in a step ({which})", [network_row(row) for row in report["network"]]),
            format_table("Scaling, the same batch on each GPU", [scaling_row(row) for row in report["scaling"]]),
            "\n".join([*notes, *warnings]),
        ]
    )


def warning(index: int, row: dict[str, Any]) -> list[str]:
    """What stands in the way of a stage."""
    if row["checkpointing"] is None:
        return [f"Stage {index} does not fit the GPU, not even with activation checkpointing: fewer clips or --zero."]
    if row["checkpointing"]:
        return [f"Stage {index} is planned with activation checkpointing; its second forward pass is in the time."]
    return []


def stage_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "learn": row["learn"],
        "steps": row["steps"],
        "clips/GPU": row["clips_per_gpu"],
        "frames/GPU": row["frames_per_gpu"],
        "GFLOP/frame": row["flops_per_frame"] / GIGA,
        "TFLOP/step": row["flops_per_step"] / 1e12,
        "checkpointing": {False: "no", True: "yes", None: "too large"}[row["checkpointing"]],
        "ms/step": row["step_s"] * 1e3,
        "frames/s": row["frames_per_second"],
        "hours": row["hours"],
    }


def memory_row(row: dict[str, Any]) -> dict[str, Any]:
    names = {
        "weights": "weights",
        "gradients": "gradients",
        "optimizer": "optimiser",
        "average": "EMA",
        "activations": "activations",
        "total": "total",
        "activations_checkpointed": "act. (ckpt)",
        "total_checkpointed": "total (ckpt)",
    }
    return {
        "ZeRO": row["zero"],
        **{short: row[name] / GIGA for name, short in names.items()},
        "most clips": row["most_clips"],
        "(ckpt)": row["most_clips_checkpointed"],
    }


def network_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "ZeRO": row["zero"],
        "gradients GB": row["gradients"] / GIGA,
        "weights GB": row["weights"] / GIGA,
        "tokens MB": row["tokens"] / 1e6,
        "ms": row["seconds"] * 1e3,
        "% of the step": 100 * row["share"],
    }


def scaling_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "GPUs": row["gpus"],
        "nodes": row["nodes"],
        "compute ms": row["compute_s"] * 1e3,
        "network ms": row["network_s"] * 1e3,
        "network %": 100 * row["network_share"],
        "efficiency %": 100 * row["efficiency"],
        "overlapped %": 100 * row["efficiency_overlapped"],
        "frames/s": row["frames_per_second"],
    }


def measured_text(report: dict[str, Any]) -> str:
    """The table of measure.measure."""
    grew, share = report["process_grew"], report["utilisation"]
    rows = [
        {"": "frames/s", "planned": None, "measured": report["frames_per_second"]},
        {"": "ms a step", "planned": None, "measured": report["seconds_per_step"] * 1e3},
        {
            "": "GFLOP a step",
            "planned": report["flops_per_step_planned"] / GIGA,
            "measured": report["flops_per_step_counted"] / GIGA,
        },
        {"": "GFLOP/s", "planned": None, "measured": report["flops_per_second"] / GIGA},
        {"": "% of peak", "planned": None, "measured": None if share is None else 100 * share},
        {
            "": "peak of tensors, GB",
            "planned": report["memory_planned"] / GIGA,
            "measured": report["memory_measured"] / GIGA,
        },
        {"": "process grew by, GB", "planned": None, "measured": None if grew is None else grew / GIGA},
    ]
    title = f'{report["device"]}, {report["precision"]}, stage "{report["learn"]}", {report["frames_per_step"]} frames'
    return format_table(title, rows)
