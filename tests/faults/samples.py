"""Valid files of every kind that is read from others, as small as they can be."""

import gzip
import io
import json
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

from fasthebb.data import Preprocessing
from fasthebb.exported import Description, export
from fasthebb.models import build_model, build_segmentation
from fasthebb.runs.saved import SavedNetwork, SavedSegmentation

DESCRIBED: dict[str, Any] = {
    "name": "cnn6",
    "channels": 1,
    "image_size": 24,
    "width": 0.05,
    "hidden": 4,
    "hebbian": True,
}


def pixels(*shape: int, dtype: Any = np.uint8, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng([seed, *shape]).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def picture(kind: str, *shape: int, dtype: Any = np.uint8, **options: Any) -> bytes:
    """An image as Pillow writes it."""
    stream = io.BytesIO()
    Image.fromarray(pixels(*shape, dtype=dtype)).save(stream, kind, **options)
    return stream.getvalue()


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    """An image or stack as tifffile writes it."""
    import tifffile

    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def dicom(values: NDArray[Any], **attributes: Any) -> bytes:
    """An uncompressed grey DICOM image of 16 bits."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    for name, value in attributes.items():
        setattr(data, name, value)
    data.PixelData = values.tobytes()
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def nifti(*shape: int) -> bytes:
    """A NIfTI-1 volume with header and values in one."""
    import nibabel

    content: bytes = nibabel.Nifti1Image(pixels(*shape), np.eye(4)).to_bytes()
    return content


def parquet(compression: str = "snappy") -> bytes:
    """Twelve labelled images, as the Hugging Face Hub keeps them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = [{"bytes": picture("PNG", 8, 8), "path": f"{row}.png"} for row in range(12)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["ant", "bee"]}}
    table = pa.table({"image": pa.array(cells, kind), "label": pa.array([row % 2 for row in range(12)])})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    stream = io.BytesIO()
    pq.write_table(table, stream, row_group_size=4, compression=compression)
    return stream.getvalue()


def shard() -> bytes:
    """Twelve labelled images in a tar."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for row in range(12):
            for name, content in ((f"{row:03}.png", picture("PNG", 8, 8)), (f"{row:03}.cls", b"%d" % (row % 2))):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def idx(values: NDArray[np.uint8]) -> bytes:
    """An array as MNIST has it."""
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def table(names: list[str]) -> bytes:
    """A label file for these images."""
    rows = [f"{name},{['ant', 'bee', ''][row % 3]},p{row % 4}\n" for row, name in enumerate(names)]
    return ("file,label,patient\n" + "".join(rows)).encode()


def configuration() -> bytes:
    """Options of a pre-training, as ``--config`` reads them."""
    return yaml.safe_dump(
        {
            "command": "pretrain",
            "data": "images",
            "unlabelled": [],
            "epochs": 1,
            "lr": 0.1,
            "image_size": 24,
            "width": 0.05,
            "hidden": 4,
            "rule": {"class_path": "fasthebb.rules.hpca.HPCA", "init_args": {"max_lr": 0.1}},
        }
    ).encode()


def through(write: Callable[[Path], Any], path: Path) -> bytes:
    """What a function writes to a file."""
    write(path)
    return path.read_bytes()


def _network(whiten: bool) -> tuple[Preprocessing, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    images = torch.rand(20, 1, 24, 24)
    return Preprocessing.fit(images, whiten=whiten), build_model(**DESCRIBED, classes=2).state_dict()


def encoder(path: Path) -> bytes:
    """What ``fasthebb pretrain`` leaves."""
    preprocessing, tensors = _network(whiten=False)
    features = {name: value for name, value in tensors.items() if name.startswith("features.")}
    return through(SavedNetwork(DESCRIBED, preprocessing, features, notes={"rule": "HPCA"}).save, path)


def classifier(path: Path, *, whiten: bool = False) -> bytes:
    """What ``fasthebb finetune`` leaves."""
    preprocessing, tensors = _network(whiten)
    return through(SavedNetwork(DESCRIBED, preprocessing, tensors, ["ant", "bee"]).save, path)


def segmenter(path: Path) -> bytes:
    """What ``fasthebb finetune --task segmentation`` leaves."""
    described = {"name": "unet", "channels": 1, "dims": 2, "hebbian": True, "depth": 1, "width": 2, "norm": "batch"}
    torch.manual_seed(0)
    tensors = build_segmentation(**described, classes=2).state_dict()
    preprocessing = Preprocessing.fit(torch.rand(20, 1, 24, 24))
    return through(SavedSegmentation(described, preprocessing, tensors, ["background", "foreground"]).save, path)


def exported(path: Path) -> bytes:
    """A classifier as ONNX."""
    preprocessing, _ = _network(whiten=False)
    network = build_model(**DESCRIBED, classes=2).eval()
    return through(lambda where: export(preprocessing, network, Description(["ant", "bee"], 1, 24), where), path)


def checkpoint(path: Path) -> bytes:
    """What a training goes on from."""
    from fasthebb.training import Classifier, fit, make_trainer

    model = build_model(**DESCRIBED, classes=2)
    batches = [(torch.rand(4, 1, 24, 24), torch.tensor([0, 1, 0, 1]))]
    fit(make_trainer(epochs=1, out=path, progress=False), Classifier(model, classes=2, epochs=1), batches)
    return (path / "checkpoints" / "last.ckpt").read_bytes()


def zipped(content: bytes) -> bytes:
    """The same, gzipped, without the time of day."""
    return gzip.compress(content, mtime=0)
