"""Files that hold many images as people bring them, through `kantor pack`: arrays, archives, animations, videos."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from support.packing import Packer, put
from support.pictures import pixels, png


def stack(seed: int, count: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


# --- arrays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("cat", "bus stop"), ("full_numpy_bitmap_cat", "full_numpy_bitmap_bus stop"), ("full%2Fnumpy_bitmap%2Fcat", "full%2Fnumpy_bitmap%2Fbus stop")])  # fmt: skip
def test_quick_draw(names: tuple[str, str], root: Path, pack: Packer) -> None:
    for i, name in enumerate(names):
        np.save(root / f"{name}.npy", stack(i, 5, 784))
    done = pack(root)
    assert done.classes == {"bus stop": 5, "cat": 5}
    np.testing.assert_array_equal(done.images[:5].reshape(5, 784), stack(1 if names[0] > names[1] else 0, 5, 784))


@pytest.mark.parametrize(
    "names",
    [("X_train", "y_train", "X_test", "y_test"), ("train_images", "train_labels", "test_images", "test_labels")],
)
def test_arrays_of_parts_and_their_labels(names: tuple[str, ...], root: Path, pack: Packer) -> None:
    for i, count in ((0, 9), (2, 4)):
        np.save(root / f"{names[i]}.npy", stack(i, count, 12, 12))
        np.save(root / f"{names[i + 1]}.npy", np.arange(count) % 3)
    done = pack(root)
    np.testing.assert_array_equal(done.images[..., 0], stack(0, 9, 12, 12))
    assert done.classes == {"0": 3, "1": 3, "2": 3}


def test_letters_are_classes_though_one_is_called_y(root: Path, pack: Packer) -> None:
    for i, name in enumerate("xyz"):
        np.save(root / f"{name}.npy", stack(i, 4, 12, 12))
    assert pack(root).classes == {"x": 4, "y": 4, "z": 4}


@pytest.mark.parametrize("first", [True, False])
def test_a_folder_of_npy_with_one_image_each(first: bool, root: Path, pack: Packer) -> None:
    images = stack(0, 6, 12, 14, 3)
    for i, image in enumerate(images):
        np.save(root / f"{i}.npy", image.transpose(2, 0, 1) if first else image)
    np.testing.assert_array_equal(pack(root, "--size", "12x14").images, images)


# --- archives ---------------------------------------------------------------------------------------------------------


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(seed, (16, 16, 3))).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("image", "mask", "kinds"),
    [
        ("image.jpg", "mask.png", ("image", "mask")),
        ("jpg", "png", ("jpg", "png")),
        ("jpg", "seg.png", ("image", "seg")),
    ],
)
def test_two_images_of_a_sample_are_a_question(
    image: str, mask: str, kinds: tuple[str, str], root: Path, pack: Packer
) -> None:
    members = {
        f"{i:04d}.{kind}": jpeg(i) if kind == image else png(i, (16, 16)) for i in range(5) for kind in (image, mask)
    }
    path = tar(root / "pairs.tar", members)
    line = pack.refused(path)
    assert f"{kinds[0]} (5) and {kinds[1]} (5)" in line and f"--set data.split={kinds[0]}; train on pairs: " in line
    assert pack(path, "--set", f"data.split={kinds[0]}").images.shape == (5, 16, 16, 3)
    assert pack(path, "--set", f"data.split={kinds[1]}").images.shape == (5, 16, 16, 1)


def zip_of(names: list[str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i, name in enumerate(names):
            archive.writestr(name, png(i + 10 * len(name), (16, 16, 3)))
    return file.getvalue()


def test_zips_of_parts(root: Path, pack: Packer) -> None:
    for part, count in (("train", 4), ("test", 2)):
        put(root / f"{part}.zip", zip_of([f"{part}/{name}/{i}.png" for name in "ab" for i in range(count)]))
    assert pack(root).classes == {"a": 4, "b": 4}


@pytest.mark.parametrize(
    ("names", "cure"),
    [(("x.zip.001", "x.zip.002"), "cat x.zip* > whole.zip"), (("x.z01", "x.zip"), "zip -s 0 x.zip --out x-whole.zip")],
)
def test_a_cut_zip_shows_the_line_that_joins_it(names: tuple[str, str], cure: str, root: Path, pack: Packer) -> None:
    data = zip_of([f"{i}.png" for i in range(6)])
    put(root / names[0], data[:1500])
    put(root / names[1], data[1500:])
    for source in (root, root / names[0], root / names[1]):
        assert f"join them: {cure}" in pack.refused(source)


def test_a_zip_of_zips_says_to_unpack_it(root: Path, pack: Packer) -> None:
    with zipfile.ZipFile(root / "all.zip", "w") as file:
        file.writestr("a.zip", zip_of(["1.png"]))
    assert "found: 1 .zip); unpack it" in pack.refused(root / "all.zip")


# --- several images in a file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "options"),
    [("gif", {}), ("png", {}), ("webp", {"lossless": True}), ("tif", {}), ("avif", {"quality": 90})],
)
def test_frames(ending: str, options: dict[str, Any], root: Path, pack: Packer) -> None:
    levels = (40, 90, 140, 190, 240)
    for i in range(2):
        frames = [Image.fromarray(np.full((16, 16, 3), level, np.uint8)) for level in levels]
        for frame in frames:
            frame.paste((0, 0, 0), (0, 0, 4 + i, 4))
        frames[0].save(root / f"{i}.{ending}", save_all=True, append_images=frames[1:], **options)
    assert "2 images: only the first of several frames is used" in pack(root).said
    for frames_wanted, expected in (("all", levels), ("2", levels[::2])):
        done = pack(root, "--set", f"data.frames={frames_wanted}", "--channels", "gray")
        assert np.abs(done.images[:, 10, 10, 0].reshape(2, -1).astype(int) - expected).max() <= 3


def film(path: Path, levels: list[int], codec: str = "mpeg4") -> None:
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for level in levels:
            image = np.full((32, 48, 3), level, np.uint8)
            image[:, :24] //= 2
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def test_videos(root: Path, pack: Packer) -> None:
    levels = [60, 100, 140, 180, 220, 250]
    film(root / "cat" / "1.mp4", levels)
    film(root / "dog" / "1.avi", levels)
    film(root / "dog" / "2.mkv", levels)
    assert "take their frames: --set data.frames=10" in pack.refused(root)
    done = pack(root, "--set", "data.frames=2", "--size", "32x48", "--channels", "gray")
    assert done.classes == {"cat": 3, "dog": 6}
    assert np.abs(done.images[:, 16, 40, 0].reshape(3, 3).astype(int) - levels[::2]).max() <= 6
    assert len(pack(root / "cat" / "1.mp4", "--set", "data.frames=all").images) == 6
    put(root / "cat" / "2.mp4", b"\0\0\0\x18ftypmp42" + bytes(60))
    assert "2.mp4: damaged video" in pack(root, "--set", "data.frames=2", "--max-bad", "20%").said


def test_tiles_that_are_larger_than_the_sheets(root: Path, pack: Packer) -> None:
    put(root / "sheet.png", pixels(0, (64, 64, 3)))
    assert len(pack(root / "sheet.png", "--set", "data.tile=16").images) == 16
    assert "choose a smaller data.tile" in pack.refused(root, "--set", "data.tile=100")


# --- others -----------------------------------------------------------------------------------------------------------


def test_prints_in_four_colours(root: Path, pack: Packer) -> None:
    """Adobe's marker says that the inks of a JPEG are inverted; Pillow writes it."""
    for i in range(3):
        image = Image.new("RGB", (32, 32), (30, 60, 200))
        image.paste((200, 30, 30), (0, 0, 16, 16 + 2 * i))
        file = io.BytesIO()
        image.convert("CMYK").save(file, "JPEG", quality=95)
        put(root / f"{i}.jpg", file.getvalue())
        image.convert("CMYK").save(root / f"{i}.tif")
    done = pack(root)
    assert np.abs(done.images[:, -1, -1].astype(int) - (30, 60, 200)).max() <= 6
    assert np.abs(done.images[:, 0, 0].astype(int) - (200, 30, 30)).max() <= 6
    assert "6 images: CMYK" in done.said


LETTER = np.zeros((28, 28), np.uint8)
LETTER[4:24, 6:9] = LETTER[21:24, 6:20] = 255  # an L


def test_letters_of_emnist_are_turned_upright(root: Path, pack: Packer) -> None:
    images = np.stack([LETTER.T] * 8)
    head = root / "emnist-letters-train"
    put(Path(f"{head}-images-idx3-ubyte.gz"), gzip.compress(struct.pack(">IIII", 2051, 8, 28, 28) + images.tobytes()))
    put(Path(f"{head}-labels-idx1-ubyte.gz"), gzip.compress(struct.pack(">II", 2049, 8) + bytes([1, 2] * 4)))
    put(root / "emnist-letters-mapping.txt", "1 65 97\n2 66 98\n")
    assert "--set data.transpose=true turns them upright" in pack(root).said
    done = pack(root, "--set", "data.transpose=true")
    np.testing.assert_array_equal(done.images[0, ..., 0], LETTER)
    assert done.classes == {"A": 4, "B": 4} and "turns them upright" not in done.said


def test_emnist_of_matlab_shows_the_line_that_converts_it(
    root: Path, pack: Packer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    part = {"images": np.stack([LETTER.T.ravel()] * 8), "labels": np.uint8([[1], [2]] * 4)}
    scipy_io.savemat(root / "emnist-letters.mat", {"dataset": {"train": part, "test": part}})
    line = pack.refused(root / "emnist-letters.mat")
    monkeypatch.chdir(root)
    exec(line[line.index('-c "') + 4 : line.rindex('"')])
    done = pack(root / "new.npz")
    np.testing.assert_array_equal(done.images[0, ..., 0], LETTER)
    assert done.classes == {"1": 4, "2": 4}
