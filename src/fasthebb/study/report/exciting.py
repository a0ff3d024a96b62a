"""The pictures of exciting images that pre-trainings have left."""

from pathlib import Path

from fasthebb.study.report.filters import natural
from fasthebb.study.report.inside import pretrained
from fasthebb.study.report.results import Results

LAYERS = 12
"""How many of a network are shown: the first, the last, and those evenly between."""
_LARGEST = 2_000_000  # bytes of a picture
_PNG = b"\x89PNG\r\n\x1a\n"


def exciting_pictures(folder: Path, results: Results, method: str) -> dict[str, bytes]:
    """By layer the PNG of the first seed that has any; what is no such picture is left out."""
    for seed in sorted({cell.seed for cell in results.cells if cell.method == method and cell.pretrain_epochs}):
        run = pretrained(folder, method, seed)
        files = [] if run is None else sorted((run / "exciting").glob("*.png"), key=lambda file: natural(file.stem))
        if files:
            step = max(1, (len(files) - 1) // (LAYERS - 1))
            pictures = {file.stem: read_picture(file) for file in files[::step]}
            return {name: png for name, png in pictures.items() if png is not None}
    return {}


def read_picture(file: Path) -> bytes | None:
    """A PNG that is not too large; None for anything else."""
    try:
        if file.stat().st_size > _LARGEST:
            return None
        content = file.read_bytes()
    except OSError:
        return None
    return content if content.startswith(_PNG) else None
