"""Where images come from: one file for each kind of source."""

from __future__ import annotations

from kantor.data.sources.arrow import Arrow
from kantor.data.sources.cifar import Cifar
from kantor.data.sources.concatenated import Concatenated
from kantor.data.sources.csv_pixels import CsvPixels
from kantor.data.sources.folder import Folder
from kantor.data.sources.glyphs import Glyphs
from kantor.data.sources.hdf5 import Hdf5
from kantor.data.sources.idx import Idx
from kantor.data.sources.lmdb import Lmdb
from kantor.data.sources.npy import Npy
from kantor.data.sources.npz import Npz
from kantor.data.sources.packed import Packed
from kantor.data.sources.parquet import Parquet
from kantor.data.sources.python_object import PythonObject
from kantor.data.sources.recognise import GLYPHS, open_source, place, split_inner
from kantor.data.sources.source import Item, Source
from kantor.data.sources.tar import Tar
from kantor.data.sources.tfrecord import TfRecord
from kantor.data.sources.zarr import Zarr
from kantor.data.sources.zip import Zip

__all__ = [
    "GLYPHS", "Arrow", "Cifar", "Concatenated", "CsvPixels", "Folder", "Glyphs", "Hdf5", "Idx", "Item", "Lmdb", "Npy", "Npz", "Packed",
    "Parquet", "PythonObject", "Source", "Tar", "TfRecord", "Zarr", "Zip", "open_source", "place",
    "split_inner",
]  # fmt: skip
