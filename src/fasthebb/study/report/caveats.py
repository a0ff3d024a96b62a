"""What a reader must know beside the numbers."""

from fasthebb.study.report.results import Results


def caveats(results: Results) -> list[str]:
    """Sentences about this study: labels that no column counts."""
    spent = [cell for cell in results.cells if cell.labels_spent > cell.labels]
    if not spent:
        return []
    most = max(spent, key=lambda cell: cell.labels_spent - cell.labels)
    return [
        f"Epochs were chosen with further labelled images, which the columns do not count: a run on {most.labels:,} "
        f"labels spent {most.labels_spent:,}."
    ]
