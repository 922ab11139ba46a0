"""Metrics of a run: one JSON object a line always, TensorBoard if asked."""

import json
from pathlib import Path
from typing import Any


class Metrics:
    """Appends to ``metrics.jsonl``; on resume, forgets what was written after the checkpoint.

    Every record has ``step`` and ``kind`` ("train", "evaluation" or "samples").
    """

    def __init__(self, directory: Path, resumed_at: int, tensorboard: bool) -> None:
        self.path = directory / "metrics.jsonl"
        self._forget_after(resumed_at)
        self._file = self.path.open("a", encoding="utf-8")
        self._board: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(directory / "tensorboard"), purge_step=resumed_at + 1)

    def _forget_after(self, step: int) -> None:
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError):  # a line cut short by a crash
                continue
        partial = self.path.with_name(self.path.name + ".incomplete")
        partial.write_text("".join(kept), encoding="utf-8")
        partial.replace(self.path)

    def write(self, kind: str, step: int, **values: Any) -> None:
        json.dump({"kind": kind, "step": step, **values}, self._file, ensure_ascii=False)
        self._file.write("\n")
        self._file.flush()
        if self._board is None:
            return
        for name, value in values.items():
            if isinstance(value, int | float):
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_metrics(path: Path, kind: str) -> list[dict[str, Any]]:
    """The records of one kind, in order of step."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [record for record in records if record["kind"] == kind]
