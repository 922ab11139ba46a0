"""Holds the kernel in Triton to attention in PyTorch; for ``TRITON_INTERPRET=1`` or a GPU.

A script of its own: Triton reads that variable when it is imported.
"""

import os
import sys

import torch

from hyperclova.inference.cache import CHUNK
from hyperclova.inference.paged import PagedRows
from hyperclova.inference.pool import ChunkPool
from hyperclova.inference.rows import GatheredRows, _check
from hyperclova.model import GPTConfig

POSITIONS = [0, 1, 63, 64, CHUNK - 1, CHUNK, CHUNK + 44, 3 * CHUNK - 1]


def check(device: torch.device, dtype: torch.dtype, width: int, chunks: int) -> None:
    config = GPTConfig(50, context_length=4 * CHUNK, layers=2, width=4 * width, heads=4)
    pool = ChunkPool(config, dtype, device, 9)
    _check(pool, PagedRows)
    generator = torch.Generator().manual_seed(width)
    pool.store.copy_(torch.randn(pool.store.shape, generator=generator))
    positions = torch.tensor([at for at in POSITIONS if at < chunks * CHUNK], device=device)
    rows = len(positions)
    # As in a step: views of one tensor.
    inputs = torch.randint(0, 8, (rows, 2 + chunks), generator=generator).to(device)
    inputs[:, 1] = positions
    query = torch.randn(4, rows, width, generator=generator).to(device, dtype) * 4
    asked = (query.transpose(0, 1), inputs[:, 1], inputs[:, 2:])
    expected = GatheredRows(pool, *asked[1:]).attend(1, asked[0])
    # What a row has not come to is not even looked at.
    pool.store[:, :, 8] = float("nan")
    for row, position in enumerate(positions.tolist()):
        inputs[row, 2 + position // CHUNK + 1 :] = 8
    found = PagedRows(pool, *asked[1:]).attend(1, asked[0])
    digits = 8 * torch.finfo(dtype).eps + 1e-5
    torch.testing.assert_close(found, expected, atol=digits, rtol=digits)


def main() -> None:
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    device = torch.device("cpu" if interpreted else "cuda")
    for dtype in (torch.float32, torch.bfloat16):
        for width in (3, 64, 80):
            for chunks in (1, 3):
                check(device, dtype, width, chunks)
    try:
        _check(ChunkPool(GPTConfig(50), torch.float32, device, 1), Wrong)
    except RuntimeError:
        return
    sys.exit("a kernel that is wrong was not found out")


class Wrong(PagedRows):
    """Forgets what a row's last position says."""

    def __init__(self, pool: ChunkPool, positions: torch.Tensor, table: torch.Tensor) -> None:
        super().__init__(pool, (positions - 1).clamp_min(0), table)


if __name__ == "__main__":
    main()
