"""How near a graph's resizing comes to the way in which files are read.

    python benchmarks/exported_resize.py --shard PATH_TO_A_TAR_OF_JPEGS

Pixels of 100 photographs, in units of 1/255: the largest and the mean difference from Pillow's resize and crop, of the
matrices that exported graphs hold and of torch's own antialiased interpolation of the centre square. Writes
``docs/results/exported_resize.json``.
"""

import argparse
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from record import save
from torch import Tensor
from torch.nn import functional as F

from fasthebb.exported.resizing import CentreSquare
from fasthebb.hub.resizing import fitted

COUNT, SIZES = 100, (32, 64, 224)


def photographs(shard: Path) -> list[Tensor]:
    """``(1, 3, H, W)`` uint8 each."""
    found: list[Tensor] = []
    with tarfile.open(shard) as archive:
        for member in archive:
            if member.name.lower().endswith((".jpg", ".jpeg")) and len(found) < COUNT:
                content = archive.extractfile(member)
                assert content is not None
                pixels = np.array(Image.open(io.BytesIO(content.read())).convert("RGB"))
                found.append(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    return found


def interpolated(images: Tensor, size: int) -> Tensor:
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[:, :, top : top + side, left : left + side]
    return F.interpolate(square, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def differences(images: list[Tensor], size: int, resize: Callable[[Tensor], Tensor]) -> dict[str, float]:
    apart = [(255 * resize(one / 255) - fitted(one, size, 3)).abs() for one in images]
    largest = max(float(one.max()) for one in apart)
    return {"largest": round(largest, 3), "mean": round(float(torch.stack([one.mean() for one in apart]).mean()), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shard", required=True, type=Path)
    images = photographs(parser.parse_args().shard)
    even = [one for one in images if (one.shape[2] - one.shape[3]) % 2 == 0]  # whose centre square is of whole pixels
    results: dict[str, Any] = {"images": len(images), "with_whole_squares": len(even)}
    for size in SIZES:
        matrices = CentreSquare(size)
        floats = [(matrices(one / 255) - fitted(one / 255, size, 3)).abs().max() for one in images]
        results[str(size)] = {
            "matrices": differences(images, size, matrices),
            "matrices_of_float_images": {"largest": round(255 * float(max(floats)), 4)},
            "interpolate_of_whole_squares": differences(even, size, lambda one, size=size: interpolated(one, size)),
        }
    print(results)
    save("exported_resize", results)


if __name__ == "__main__":
    main()
