"""GPUs and the links between them, as their makers state them."""

from dataclasses import dataclass

NODE = 8  # GPUs in a node (DGX A100, DGX H100 and their like)
NODE_LINK = 50e9  # bytes a second a direction in and out of a node: 400 Gb/s InfiniBand
RESERVE = 0.1  # share of a GPU's memory for the CUDA context, NCCL, cuDNN workspaces and what fragmentation wastes


@dataclass(frozen=True)
class Gpu:
    """peak: FLOP/s of bf16 matrix products, dense (half of a data sheet's figure "with sparsity"); peak_fp32: of fp32
    ones, which torch computes as such unless it is told otherwise; memory: bytes; link: bytes a second a direction to
    the other GPUs of its node."""

    name: str
    peak: float
    peak_fp32: float
    memory: float
    link: float


# Sources: NVIDIA's data sheets "A100 Tensor Core GPU", "H100 Tensor Core GPU" (SXM5) and "H200 Tensor Core GPU"; for
# the RTX 4090 the whitepaper "Ada GPU Architecture", appendix A, bf16 with fp32 accumulation. NVLink is stated there
# as the sum of both directions: 600 and 900 GB/s. An RTX 4090 has none, so its link is PCIe 4.0 x16.
GPUS = {
    "a100": Gpu("A100 80 GB SXM", 312e12, 19.5e12, 80e9, 300e9),
    "h100": Gpu("H100 80 GB SXM", 989e12, 67e12, 80e9, 450e9),
    "h200": Gpu("H200 141 GB SXM", 989e12, 67e12, 141e9, 450e9),
    "4090": Gpu("RTX 4090", 165e12, 82.6e12, 24e9, 32e9),
}


def pass_seconds(volume: float, gpus: int, gpu: Gpu) -> float:
    """Seconds of one reduce-scatter or one all-gather of `volume` bytes over `gpus` GPUs; an all-reduce is two of them.

    Hierarchical, as NCCL does it: a ring inside each node, where every GPU passes (k - 1) / k of the bytes on, then a
    ring over n nodes, where the k GPUs of a node share its link and together pass (n - 1) / n of them.
    """
    inside = min(gpus, NODE)
    nodes = -(-gpus // NODE)
    return volume * (inside - 1) / inside / gpu.link + volume * (nodes - 1) / nodes / NODE_LINK
