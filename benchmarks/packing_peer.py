"""img2dataset's Resizer over the members of a tar, in two processes. Run by packing.py with a Python that has img2dataset."""

from __future__ import annotations

import io
import multiprocessing
import sys
import tarfile


def resize_half(path: str, size: int, half: int) -> int:
    from img2dataset.resizer import Resizer  # type: ignore[import-not-found]

    resizer, done = Resizer(size, "center_crop", False), 0
    with tarfile.open(path) as tar:
        for number, member in enumerate(tar):
            if number % 2 == half:
                file = tar.extractfile(member)
                assert file is not None
                data, *_, error = resizer(io.BytesIO(file.read()))
                if error or not data:
                    raise SystemExit(error)
                done += 1
    return done


if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        print(sum(pool.starmap(resize_half, [(sys.argv[1], int(sys.argv[2]), half) for half in (0, 1)])))
