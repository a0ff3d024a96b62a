"""The pictures of best, median and worst test images that segmentations have left."""

from pathlib import Path

from fasthebb.study.report.cells import Cell
from fasthebb.study.report.exciting import read_picture
from fasthebb.study.report.inside import inside
from fasthebb.study.report.results import Results

WHICH = ("best", "median", "worst")


def overlay_pictures(folder: Path, results: Results) -> list[tuple[Cell, dict[str, bytes]]]:
    """For each method and way of using masks the pictures of its first cell with the fewest masks, if it has any."""
    firsts: dict[tuple[str, str], Cell] = {}
    for cell in sorted(results.cells, key=lambda cell: (cell.labels, cell.seed, cell.draw)):
        if "dice" in cell.scores:
            firsts.setdefault((cell.method, cell.readout), cell)
    found = []
    for cell in firsts.values():
        where = inside(folder, cell.folder)
        files = {} if where is None else {which: where / "overlays" / f"{which}.png" for which in WHICH}
        pictures = {which: png for which, file in files.items() if (png := read_picture(file)) is not None}
        if pictures:
            found.append((cell, pictures))
    return found
