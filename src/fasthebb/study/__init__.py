"""Studies: methods x labels x seeds, finished cell by cell, and the report of one."""

from fasthebb.study.command import ReportOptions, report, study
from fasthebb.study.options import StudyOptions

__all__ = ["ReportOptions", "StudyOptions", "report", "study"]
