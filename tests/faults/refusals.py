"""What a refusal looks like: one of fasthebb's own errors, in one line."""

from fasthebb.data import DataError
from fasthebb.exported import ExportError
from fasthebb.hub.model import SharingError
from fasthebb.runs import RunError
from fasthebb.training import WeightsError


def is_refusal(error: BaseException) -> bool:
    """Whether an error is worded for users."""
    own = (DataError, ExportError, SharingError, RunError, WeightsError)
    raised_by_us = isinstance(error, own) or (
        isinstance(error, ValueError) and _raised_in(error).startswith("fasthebb")
    )
    return raised_by_us and "\n" not in str(error) and str(error) != ""


def _raised_in(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
