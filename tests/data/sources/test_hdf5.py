"""HDF5, written by h5py: read as written; what leads elsewhere or claims too much is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kantor.config.data import DataConfig
from kantor.data.decoding.decode import DecodeSettings, decode
from kantor.data.packing.pack import pack
from kantor.data.reasons import Undecodable
from kantor.data.sources.hdf5 import Hdf5
from kantor.data.sources.recognise import open_source
from kantor.errors import DataError, ResourceError
from kantor.types import ImageSpec
from support import nasty
from support.pictures import images_of, labels_of, pixels, require_pixels

h5py = pytest.importorskip("h5py")

STACK = np.random.default_rng(0).integers(0, 256, (30, 12, 10, 3), np.uint8)
CLASSES = np.arange(30) % 3


def opened(path: Path | str, **more):
    return open_source(DataConfig(source=str(path), **more))


def refusal(path: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        list(opened(path).items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as opened_file:
        yield opened_file


def closed(file) -> Path:
    path = Path(file.filename)
    file.close()
    return path


@pytest.mark.parametrize("options", [
    {}, {"chunks": True}, {"chunks": (7, 12, 10, 3)}, {"chunks": (1, 5, 5, 1), "compression": "gzip", "shuffle": True},
    {"chunks": (7, 4, 10, 3), "compression": "lzf", "fletcher32": True}, {"chunks": (30, 12, 10, 3), "scaleoffset": 0},
])  # fmt: skip
@pytest.mark.parametrize(("images", "labels"), [
    ("images", "labels"), ("train_set_x", "train_set_y"), ("set/train/images", "set/train/labels"), ("own", "label"),
    ("x", "y"), ("train/data", "train/target"), ("images/train", "labels/train"),
])  # fmt: skip
def test_round_trip(file, options, images, labels):
    file.create_dataset(images, data=STACK, **options)
    file[labels] = CLASSES
    source = opened(closed(file))
    assert isinstance(source, Hdf5) and source.exact and f"the array {images} of" in source.note
    assert labels_of(source) == [str(n) for n in CLASSES]
    np.testing.assert_array_equal(images_of(source), STACK)
    items = list(source.items())
    for item in [items[29], items[3], items[3], items[0]]:
        np.testing.assert_array_equal(source.load(item), STACK[item.position])
    source.release()
    np.testing.assert_array_equal(source.load(items[8]), STACK[8])


def test_small_batches(file, monkeypatch):
    monkeypatch.setattr("kantor.data.sources.stored_arrays._BATCH_BYTES", 4 * STACK[0].nbytes)
    file.create_dataset("images", data=STACK, chunks=(3, 12, 10, 3))
    np.testing.assert_array_equal(images_of(opened(closed(file))), STACK)


@pytest.mark.parametrize("dtype", ["?", "i1", ">u2", "<f2", ">f4", "<f8", "<i8"])
def test_number_types(file, dtype):
    array = STACK.astype(dtype)
    file["images"] = array
    loaded = images_of(opened(closed(file)))
    assert loaded.dtype.isnative
    np.testing.assert_array_equal(loaded, array)


def test_axes(file):
    file["data"] = np.random.default_rng(1).integers(0, 256, (20, 784)).astype("u1")
    file["images"] = STACK.transpose(0, 3, 1, 2)
    source = opened(closed(file))
    np.testing.assert_array_equal(images_of(source), STACK)
    assert "channels first" in source.note


def test_names_of_classes(file):
    file["train_set_x"], file["train_set_y"] = STACK, CLASSES[None]
    file["list_classes"] = np.array([b"non-cat", b"cat", b"eel"])
    path = closed(file)
    assert labels_of(opened(path)) == [("non-cat", "cat", "eel")[n] for n in CLASSES]
    with h5py.File(path := path.with_name("y.h5"), "w") as again:
        again["images"], again["labels"] = STACK, [("ä", "b", "c")[n] for n in CLASSES]
    assert labels_of(opened(path))[0] == "ä"


def test_labels_in_a_file_of_their_own(tmp_path):
    """PatchCamelyon: ..._train_x.h5 and ..._train_y.h5, [count, 1, 1, 1]."""
    for name, array in (("x", STACK), ("y", CLASSES[:, None, None, None])):
        with h5py.File(tmp_path / f"split_train_{name}.h5", "w") as file:
            file[name] = array
    source = opened(tmp_path / "split_train_x.h5")
    np.testing.assert_array_equal(images_of(source), STACK)
    assert labels_of(source) == [str(n) for n in CLASSES]


def test_one_array_for_each_image(file):
    for i in range(20):
        file[f"faces/{i:03d}"] = STACK[i]
    assert require_pixels(opened(closed(file)), list(STACK[:20])) == [None] * 20


def test_several_arrays(file):
    file["a/photos"], file["b/photos"] = STACK, STACK[:, ::-1]
    path = closed(file)
    message = refusal(path)
    assert "a/photos [30, 12, 10, 3] uint8, b/photos [30, 12, 10, 3] uint8" in message
    assert message.endswith(f"name one: {path}:/a/photos")
    for name in (f"{path}:/b/photos", f"{path}:b/photos"):
        np.testing.assert_array_equal(images_of(opened(name)), STACK[:, ::-1])
    assert "there is no array c in it (found: a/photos" in refusal(f"{path}:/c")


def test_training_parts_come_first(file):
    for part, images in (("test", STACK[:5]), ("train", STACK), ("valid", STACK[:7])):
        file[f"{part}/images"], file[f"{part}/labels"] = images, CLASSES[: len(images)]
    source = opened(path := closed(file))
    assert len(labels_of(source)) == 30 and labels_of(source)[4] == "1"
    assert len(labels_of(opened(f"{path}:/test/images"))) == 5


def test_levels_of_a_pyramid(file):
    """As ProGAN's tools write faces: data4x4 ... data1024x1024, planes first."""
    for side in (4, 8, 16, 32):
        file[f"data{side}x{side}"] = np.full((6, 3, side, side), side, np.uint8)
    source = opened(closed(file))
    assert (
        images_of(source).shape == (6, 32, 32, 3) and "data32x32" in source.note and "data16x16, data4x4" in source.note
    )


def test_encoded_images(file):
    files = [nasty.encode(nasty.photo(20 + i, 16), kind) for i, kind in enumerate(("PNG", "JPEG", "PNG"))]
    kind = h5py.vlen_dtype(np.uint8)
    data = file.create_dataset("images", (3,), dtype=kind)
    for i, one in enumerate(files):
        data[i] = np.frombuffer(one, np.uint8)
    file["label"] = ["a", "b", "a"]
    source = opened(path := closed(file))
    assert [source.load(item) for item in source.items()] == files and labels_of(source) == ["a", "b", "a"]
    assert not source.exact
    with h5py.File(path := path.with_name("y.h5"), "w") as again:
        again["images"] = np.array([np.void(files[0]), np.void(files[0])])
    source = opened(path)
    assert [source.load(item) for item in source.items()] == files[:1] * 2
    decode(source.load(next(source.items())), DecodeSettings(ImageSpec(16, 16, 3)))


def test_nothing_to_read(file):
    file["meta/names"] = ["a", "b"]
    file["meta/size"] = 7
    path = closed(file)
    message = refusal(path)
    assert "there is no array of images in it (found: meta/names [2] text)" in message
    h5py.File(path, "w").close()
    assert "there is no array in it" in refusal(path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))
    assert "not a whole HDF5 file" in refusal(path)
    with h5py.File(path, "w") as again:
        again["images"] = STACK.astype(complex)
    assert "complex128" in refusal(path)


def test_other_files_are_not_read(tmp_path, file):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["images"] = STACK
    (tmp_path / "raw").write_bytes(STACK.tobytes())
    file["images"] = h5py.ExternalLink("other.h5", "/images")
    path = closed(file)
    assert "images: is a link to another file" in refusal(path)
    with h5py.File(path, "w") as again:
        again.create_dataset("images", STACK.shape, "u1", external=[(str(tmp_path / "raw"), 0, STACK.nbytes)])
    assert "keeps its numbers in another file" in refusal(path)
    with h5py.File(path, "w") as again:
        layout = h5py.VirtualLayout(STACK.shape, "u1")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "images", STACK.shape)
        again.create_virtual_dataset("images", layout)
    assert "made of arrays in other files" in refusal(path)
    with h5py.File(path, "w") as again:
        again["soft"] = h5py.SoftLink("/group/images")
        again["group/images"] = STACK
        again["group/circle"] = again["group"]
    assert "the array group/images" in opened(path).note


def test_claims_beyond_the_file(file):
    file.create_dataset("images", (10_000_000, 64, 64, 3), "u1", chunks=(1, 64, 64, 3), compression="gzip")
    path = closed(file)
    assert "would unpack to" in refusal(path)
    with h5py.File(path, "w") as again:
        again.create_dataset("images", (9000, 600, 600), "u1", chunks=(9000, 600, 600), compression="gzip")
    assert "chunks take more than" in refusal(path)


def test_damage(file):
    file.create_dataset("images", data=STACK, chunks=(1, 12, 10, 3), compression="gzip", fletcher32=True)
    place = file["images"].id.get_chunk_info(4).byte_offset
    path = closed(file)
    data = bytearray(path.read_bytes())
    data[place + 20 : place + 40] = bytes(20)
    path.write_bytes(data)
    source = opened(path)
    items = list(source.items())
    with pytest.raises(Undecodable, match="damaged in the file"):
        source.load(items[4])
    np.testing.assert_array_equal(source.load(items[5]), STACK[5])


def test_matlab(tmp_path):
    """As MATLAB's `save -v7.3` writes X [height, width, channels, count] and y [count, 1]."""
    path = tmp_path / "x.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["X"], file["y"] = STACK.transpose(0, 3, 2, 1), CLASSES[None].astype("f8")
        file["#refs#/a"] = STACK
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116))
    source = opened(path)
    np.testing.assert_array_equal(images_of(source), STACK)
    assert labels_of(source) == [str(n) for n in CLASSES] and "MATLAB's arrays are turned" in source.note
    source.release()
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = STACK.transpose(3, 2, 1, 0)
    message = refusal(path)
    assert "[30, 12, 10, 3] in MATLAB has the images along its first axis" in message
    code = message[message.index('-c "') + 4 : -1].replace("new.npz", str(tmp_path / "new.npz"))
    exec(code)
    np.testing.assert_array_equal(images_of(opened(tmp_path / "new.npz")), STACK)


def test_old_matlab_shows_the_line_that_converts_it(tmp_path, monkeypatch):
    scipy_io = pytest.importorskip("scipy.io")
    path = tmp_path / "train_32x32.mat"
    scipy_io.savemat(path, {"X": STACK.transpose(1, 2, 3, 0), "y": CLASSES[:, None]})
    message = refusal(path)
    assert "a MATLAB file of version 5, which is not read" in message
    monkeypatch.chdir(tmp_path)
    exec(message[message.index('-c "') + 4 : message.rindex('"')])
    source = opened(tmp_path / "new.npz")
    np.testing.assert_array_equal(images_of(source), STACK)
    assert labels_of(source) == [str(n) for n in CLASSES]


def test_packed(tmp_path, file):
    file.create_dataset("images", data=STACK, chunks=(7, 12, 10, 3), compression="gzip")
    source = opened(closed(file))
    pack(source, DataConfig(), ImageSpec(12, 10, 3), tmp_path / "set", workers=1)
    np.testing.assert_array_equal(np.load(tmp_path / "set" / "images-00000.npy"), STACK)


def test_without_h5py(file, monkeypatch):
    file["images"] = STACK
    path = closed(file)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ResourceError, match=r"pip install 'kantor\[formats\]'"):
        opened(path)


def test_an_array_for_each_image_in_groups_that_are_classes(tmp_path):
    stored = {f"train/{kind}/{i}": pixels(i, (12 + i, 10, 3)) for kind in ("cats", "dogs") for i in range(3)}
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, array in {**stored, "test/cats/9": pixels(9), "test/dogs/9": pixels(9)}.items():
            file[name] = array
        file["about"] = np.zeros(3)
    source = opened(tmp_path / "x.h5")
    assert require_pixels(source, list(stored.values())) == ["cats"] * 3 + ["dogs"] * 3
    assert [item.name for item in source.items()] == list(stored)
    assert source.note == "each of 6 arrays is an image; about, test/cats/9, test/dogs/9 also there"
    assert labels_of(opened(tmp_path / "x.h5", labels="none")) == [None] * 6


def test_groups_of_one_image_each_are_no_classes(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for i in range(5):
            file[f"sample{i}/image"] = pixels(i, (12, 10))
    source = opened(tmp_path / "x.h5")
    assert require_pixels(source, [pixels(i, (12, 10)) for i in range(5)]) == [None] * 5


def test_rows_of_numbers_in_several_arrays_are_not_taken_for_images(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"], file["b"] = pixels(0, (60, 784)), pixels(1, (60, 784))
    assert "which of its arrays holds the images is not clear" in refusal(tmp_path / "x.h5")


@pytest.mark.parametrize(
    "names", [("image", "mask"), ("s1/image", "s1/depths"), ("images/1", "masks/1"), ("a/gt", "a/rgb")]
)
def test_an_image_and_what_belongs_to_it_are_not_two_images(tmp_path, names):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for number, name in enumerate(names):
            file[name] = pixels(number, (12, 10))
    assert "no array of images" in refusal(tmp_path / "x.h5")


def test_a_folder_of_images_and_labels_in_two_files(tmp_path: Path) -> None:
    """PatchCamelyon as it is downloaded; its labels are no images of one pixel."""
    for part, count in (("train", 12), ("valid", 4)):
        with h5py.File(tmp_path / f"camelyonpatch_level_2_split_{part}_x.h5", "w") as file:
            file["x"] = np.stack([pixels(i) for i in range(count)])
        with h5py.File(tmp_path / f"camelyonpatch_level_2_split_{part}_y.h5", "w") as file:
            file["y"] = np.arange(count).reshape(-1, 1, 1, 1) % 2
    source = opened(tmp_path)
    assert labels_of(source) == ["0", "1"] * 6
    np.testing.assert_array_equal(images_of(source), [pixels(i) for i in range(12)])
