"""What several processes do in the tests of runs: the same commands one after the other, as torchrun starts them."""

import os
from pathlib import Path
from typing import Any

import torch

from fasthebb.runs import FinetuneOptions, PretrainOptions, finetune, pretrain

Options = PretrainOptions | FinetuneOptions


def run(options: Options, out: Path) -> dict[str, Any]:
    command: Any = pretrain if isinstance(options, PretrainOptions) else finetune
    result: dict[str, Any] = command(options, out, progress=False)
    return result


def work(rank: int, processes: int, port: int, folder: str, scenarios: dict[str, Options]) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }
    outcomes: dict[str, Any] = {}
    for name, options in scenarios.items():
        try:
            outcomes[name] = run(options, Path(folder) / name)
        except ValueError as error:  # in every process, or the others would wait
            outcomes[name] = str(error)
    torch.save(outcomes, Path(folder) / f"rank{rank}")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
