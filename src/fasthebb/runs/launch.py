"""Processes on one machine, for ``--devices``: started, watched and ended together by torch's own launcher."""

import logging
import signal
import sys
import tempfile
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from fasthebb.runs.folder import RunError
from fasthebb.runs.options import DataOptions, FinetuneOptions, PretrainOptions
from fasthebb.runs.processes import refuse_what_one_does_alone, started_elsewhere

_SPOKEN = (2, 128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit statuses of a process that has said why it ended."""


def launch(options: object, arguments: Sequence[str]) -> int | None:
    """Run a command in as many processes as it asks for, and wait for them.

    A process that ends before its time ends the others.

    Args:
        options: of the command.
        arguments: the command line, which every process is given.

    Returns:
        The exit status; None where this very process is to do the work.

    Raises:
        RunError: what is asked for is done by one process alone, or torchrun has started several for it.
    """
    if not isinstance(options, PretrainOptions | FinetuneOptions) and started_elsewhere(0):
        raise RunError("pretrain and finetune alone run on several processes: start this command without torchrun")
    if not isinstance(options, DataOptions) or options.devices <= 1 or options.nodes != 1:
        return None
    if started_elsewhere(options.devices):
        return None
    if isinstance(options, PretrainOptions | FinetuneOptions):
        refuse_what_one_does_alone(options)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what is to be said is said below
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=options.devices,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            run_id="fasthebb",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "fasthebb.cli", *arguments)
        except ChildFailedError as failed:
            rank, failure = _cause(failed)
            if failure.exitcode not in _SPOKEN:
                print(f"\nfasthebb: {_fallen(rank, failure, options.devices)}", file=sys.stderr)  # below the bar
            return failure.exitcode if failure.exitcode > 0 else 1
        except SignalException as ended:
            return 128 + ended.sigval
    return 0


def _cause(failed: ChildFailedError) -> tuple[int, ProcessFailure]:
    """The process that ended first. One that was killed has left no time of its end: others only followed it."""
    for rank, failure in failed.failures.items():
        if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:
            return rank, failure
    rank, failure = failed.get_first_failure()
    return rank, failure


def _fallen(rank: int, failure: ProcessFailure, processes: int) -> str:
    if failure.exitcode >= 0:
        how = f"ended with status {failure.exitcode}, for the reason above"
    else:
        how = f"was ended by {signal.Signals(-failure.exitcode).name}"
        if failure.exitcode == -signal.SIGKILL:
            how += " (by hand, or for want of memory)"
    return (
        f"process {rank} of {processes} {how}, and the others were ended too: the same command goes on from the last "
        "checkpoint"
    )
