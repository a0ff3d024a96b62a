"""The processes of a run: how many there are to be, and how this one joins the others."""

import logging
import os
import signal
import time
from dataclasses import replace
from typing import TypeVar

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.utilities.exceptions import MisconfigurationException

from fasthebb.runs.folder import RunError
from fasthebb.runs.options import FinetuneOptions, PretrainOptions
from fasthebb.training.processes import has_lost_others, process_count, process_rank

PATIENCE = 10.0
"""Seconds in which a launcher notices that a process has ended."""
Options = TypeVar("Options", PretrainOptions, FinetuneOptions)


def joined(options: Options) -> Options:
    """Join the other processes that work on this run, where there are to be several.

    Args:
        options: what to do.

    Returns:
        The options with the devices and nodes that there are: those that torchrun has started, if it has.

    Raises:
        RunError: nobody has started the processes, or what is asked for is done by one alone.
    """
    devices, nodes = _asked(options)
    if devices * nodes == 1:
        return options
    refuse_what_one_does_alone(options)
    if process_count() == 1:
        if not started_elsewhere(devices * nodes):
            raise RunError(
                f"found --devices {devices} and --nodes {nodes}, and nobody has started as many processes: "
                f"use torchrun --nnodes {nodes} --nproc-per-node {devices}, or srun"
            )
        _connect(devices, nodes)
    return replace(options, devices=devices, nodes=nodes)


def started_elsewhere(processes: int) -> bool:
    """Whether torchrun, or SLURM with as many tasks, has started this process and others like it."""
    if TorchElasticEnvironment.detect():
        return int(os.environ["WORLD_SIZE"]) > 1
    return SLURMEnvironment.detect() and int(os.environ["SLURM_NTASKS"]) == processes > 1


def speaks() -> bool:
    """Whether this process is the one that says what all would say."""
    if process_count() == 1 and TorchElasticEnvironment.detect():
        return int(os.environ["RANK"]) == 0
    return process_rank() == 0


def refuse_what_one_does_alone(options: PretrainOptions | FinetuneOptions) -> None:
    """Refuse what several processes cannot share, before they are started.

    Raises:
        RunError: naming it.
    """
    alone = {"--task segmentation": options.task == "segmentation"}
    if isinstance(options, PretrainOptions):
        alone |= {f"--method {options.method}": options.method != "hebbian"}
    else:
        alone |= {"--ridge": options.ridge, "--student": options.student is not None}
    for name, asked in alone.items():
        if asked:
            raise RunError(f"found {name}, which one process does alone, expected --devices 1 and no launcher")


def _asked(options: PretrainOptions | FinetuneOptions) -> tuple[int, int]:
    """Devices of a node, and nodes."""
    devices, nodes = options.devices, options.nodes
    if devices < 1 or nodes < 1:
        raise RunError(f"found --devices {devices} and --nodes {nodes}, expected at least 1 of each")
    if not TorchElasticEnvironment.detect():
        return devices, nodes
    here, all_of_them = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    if (devices, nodes) not in ((1, 1), (here, all_of_them // here)):
        raise RunError(
            f"found --devices {devices} and --nodes {nodes}, and torchrun has started {here} processes on each "
            f"of {all_of_them // here} nodes: leave the options out"
        )
    return here, all_of_them // here


def _connect(devices: int, nodes: int) -> None:
    """Make the process group; Lightning knows by whom the processes were started."""
    if torch.cuda.is_available() and devices > torch.cuda.device_count():
        raise RunError(f"found --devices {devices}, expected at most the {torch.cuda.device_count()} GPUs there are")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # who has joined
    try:
        Fabric(accelerator="auto", devices=devices, num_nodes=nodes, strategy=DDPStrategy()).launch()
    except (MisconfigurationException, ValueError) as error:  # of other numbers than the launcher's
        raise RunError(" ".join(str(error).split())) from error


def said_by_one(mistake: str) -> str:
    """What this process is to say of a mistake.

    As a rule all processes notice it: those but the first wait for it to speak, and for the launcher to end them.
    """
    if speaks():
        return mistake
    _wait_to_be_ended()
    return f"process {process_rank()}: {mistake}"


def leave() -> None:
    """Part from the other processes, when all of them are done."""
    if process_count() > 1:
        dist.barrier()
        dist.destroy_process_group()


def lost_others(error: RuntimeError) -> str | None:
    """What is to be said of a failed communication; None for other errors.

    A launcher that watches its processes needs a moment to see which of them has ended, and ends this one then: only
    where there is none, such as with a connection that is lost, is there something to be said here.
    """
    if not has_lost_others(error):
        return None
    _wait_to_be_ended()
    return (
        f"process {process_rank()} of {process_count()} has lost the others, of which one has ended or does not answer "
        f"({' '.join(str(error).split())[:200]}): the same command goes on from the last checkpoint"
    )


def _wait_to_be_ended() -> None:
    """Give a launcher the time to end this process, which then has nothing more to say."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # no checkpoint is to be written any more
    time.sleep(PATIENCE)
