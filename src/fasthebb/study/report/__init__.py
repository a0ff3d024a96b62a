"""What a study found, as a page that needs no other file, and as tables in Markdown, CSV and LaTeX."""

from fasthebb.study.report.writing import write_report

__all__ = ["write_report"]
