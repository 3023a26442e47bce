"""Grids and animations."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from kantor.sample import gif
from kantor.sample.gif import choose, indexed
from kantor.sample.grid import CHECKER, INK, PAPER, grid, png_bytes


def images(n, h=8, w=8, c=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, h, w, c), np.uint8)


def gif_frames(data):
    image = Image.open(io.BytesIO(data))
    frames = []
    for i in range(image.n_frames):
        image.seek(i)
        frames.append((np.asarray(image.convert("RGB")), image.info["duration"]))
    return frames, image


class TestGrid:
    def test_places_every_image_in_rows(self):
        p = images(5, 4, 6)
        sheet = grid(p, columns=3, gutter=1, scale=1)
        assert sheet.shape == (1 + 2 * 5, 1 + 3 * 7, 3) and sheet.dtype == np.uint8
        for i in range(5):
            r, c = divmod(i, 3)
            np.testing.assert_array_equal(sheet[1 + r * 5 : 5 + r * 5, 1 + c * 7 : 7 + c * 7], p[i])
        assert (sheet[6:10, 15:21] == PAPER).all()  # the empty place
        assert (sheet[0] == PAPER).all() and (sheet[:, 0] == PAPER).all()

    def test_raw_is_the_bare_pixels(self):
        p = images(4)
        expected = np.concatenate([np.concatenate(p[:2], 1), np.concatenate(p[2:], 1)])
        np.testing.assert_array_equal(grid(p, 2, gutter=0, scale=1), expected)

    def test_enlarges_by_whole_pixels(self):
        p = images(1, 2, 2)
        sheet = grid(p, gutter=0, scale=3)
        np.testing.assert_array_equal(sheet, p[0].repeat(3, 0).repeat(3, 1))

    def test_small_images_are_made_visible(self):
        assert grid(images(1, 32, 32), gutter=0).shape == (64, 64, 3)
        assert grid(images(1, 28, 28), gutter=0).shape == (84, 84, 3)
        assert grid(images(1, 64, 64), gutter=0).shape == (64, 64, 3)
        assert grid(images(1, 8, 64), gutter=0).shape == (8, 64, 3)

    def test_large_sheets_stay_below_2048(self):
        sheet = grid(images(2500, 32, 32), columns=50)
        assert max(sheet.shape) <= 2048

    def test_grey_becomes_rgb(self):
        p = images(1, c=1)
        np.testing.assert_array_equal(grid(p, gutter=0, scale=1), p[0].repeat(3, 2))

    def test_rgba_lies_on_a_checkerboard(self):
        p = np.zeros((1, 8, 8, 4), np.uint8)
        p[..., :3] = (200, 100, 50)
        p[0, :, :4, 3] = 255
        sheet = grid(p, gutter=0, scale=1)
        assert (sheet[:, :4] == (200, 100, 50)).all()
        assert (sheet[0, 4] == CHECKER[1]).all() and (sheet[4, 4] == CHECKER[0]).all()
        p[..., 3] = 128
        mixed = 200 * 128 / 255 + CHECKER[0][0] * 127 / 255
        assert grid(p, gutter=0, scale=1)[0, 0, 0] == round(mixed)

    @pytest.mark.parametrize(
        ("n", "h", "w", "columns"),
        [(64, 8, 8, 8), (12, 8, 8, 4), (1, 8, 8, 1), (3, 8, 8, 3), (5, 8, 8, 3), (8, 8, 16, 2)],
    )
    def test_default_columns_make_it_about_square(self, n, h, w, columns):
        assert grid(images(n, h, w), gutter=0, scale=1).shape[1] == columns * w

    def test_the_caption_is_written_below_and_changes_nothing_else(self):
        p = images(16, 32, 32)
        bare, titled = grid(p), grid(p, caption="32,000 images seen · epoch 1.6")
        np.testing.assert_array_equal(titled[: len(bare)], bare)
        strip = titled[len(bare) :]
        dark = (strip < 150).all(2)
        assert 12 <= len(strip) <= 40 and 0.01 < dark.mean() < 0.3
        assert (strip[-1] == PAPER).all() and (strip[:, -1] == PAPER).all()  # nothing is cut off

    def test_a_narrow_sheet_grows_for_its_caption(self):
        sheet = grid(images(1), caption="32,000 images seen · epoch 1.6", scale=1)
        assert sheet.shape[1] > 100 and (sheet[:, -1] == PAPER).all() and (sheet[:, 0] == PAPER).all()

    @pytest.mark.parametrize("paper", [(255, 255, 255), (0, 0, 0), (10, 200, 30)])
    def test_paper_of_another_colour(self, paper):
        p = images(5, 32, 32)
        sheet, warm = grid(p, 3, 4, "32,000 images", 2, paper), grid(p, 3, 4, "32,000 images", 2)
        assert sheet.shape == warm.shape
        other = (sheet != warm).any(2)
        assert (sheet[:4] == paper).all() and (sheet[72:140, 140:] == paper).all()  # the edge and the empty place
        assert not other[4:68, 4:68].any()
        strip = sheet[140:].astype(int)
        words = np.abs(strip - INK if sum(paper) > 500 else strip - PAPER).max(2) < 40
        assert words.sum() > 20  # they can be read on it

    @pytest.mark.parametrize("shape", [(0, 8, 8, 3), (2, 8, 8, 2), (8, 8, 3)])
    def test_other_shapes_are_refused(self, shape):
        with pytest.raises(ValueError, match=r"images must be"):
            grid(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_png_round_trip(shape):
    p = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    data = png_bytes(p)
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(data))), p.reshape(p.shape[:2] + shape[2:]).squeeze()
    )
    assert data == png_bytes(p.copy()) and b"tIME" not in data and b"tEXt" not in data


def gif_bytes(frames, dither=False, **times):
    return gif.gif_bytes([indexed(frame, dither) for frame in frames], **times)


class TestGif:
    def test_flat_colours_are_exact(self):
        rng = np.random.default_rng(0)
        palette = rng.integers(0, 256, (200, 3), np.uint8)
        frames = [palette[rng.integers(0, 200, (20, 30))] for _ in range(4)]
        frames.append(np.zeros((20, 30, 3), np.uint8))
        got, _ = gif_frames(gif_bytes(frames))
        for (frame, _), expected in zip(got, frames, strict=True):
            np.testing.assert_array_equal(frame, expected)

    def test_times_and_loop(self):
        got, image = gif_frames(gif_bytes([images(1, seed=i)[0] for i in range(3)], fps=5, hold_last_s=2))
        assert [duration for _, duration in got] == [200, 200, 2000]
        assert image.info["loop"] == 0

    def test_photos_come_out_close(self):
        y, x = np.mgrid[0:200, 0:200] / 200
        photo = (np.stack([x, y, (x + y) / 2], 2) * 255).astype(np.uint8)
        for dither in (False, True):
            [(frame, _)], _ = gif_frames(gif_bytes([photo], dither=dither))
            error = np.abs(frame.astype(float) - photo)
            assert error.mean() < 5
        assert (frame[0, 0] == photo[0, 0]).all()

    def test_same_bytes(self):
        frames = [images(1, 40, 40, seed=i)[0] for i in range(3)]
        assert gif_bytes(frames) == gif_bytes([f.copy() for f in frames])

    def test_long_animations_are_thinned_evenly(self):
        frames = [np.full((2, 2, 3), i % 256, np.uint8) for i in range(450)]
        got, _ = gif_frames(gif_bytes([frames[i] for i in choose(len(frames))]))
        assert len(got) <= 200
        assert got[0][0][0, 0, 0] == 0 and got[-1][0][0, 0, 0] == 449 % 256

    def test_large_frames_are_scaled_down(self):
        _, image = gif_frames(gif_bytes([np.zeros((320, 1280, 3), np.uint8)]))
        assert image.size == (640, 160)

    def test_frames_of_other_sizes(self):
        got, image = gif_frames(gif_bytes([np.full((8, 8, 3), 9, np.uint8), np.full((4, 12, 3), 200, np.uint8)]))
        assert image.size == (12, 8) and len(got) == 2
        assert (got[1][0][:4, :12] == 200).all()

    def test_no_frames(self):
        with pytest.raises(ValueError, match="at least one"):
            gif_bytes([])


@pytest.mark.parametrize("count", [0, 1, 2, 199, 200, 201, 399, 400, 5000])
def test_choose(count):
    chosen = choose(count)
    assert len(chosen) <= 200 and chosen == sorted(set(chosen))
    if count:
        assert chosen[0] == 0 and chosen[-1] == count - 1
        assert len(chosen) > 95 or len(chosen) == count
        assert len(set(np.diff(chosen[:-1]))) <= 1


def test_the_choice_is_stable_while_an_animation_grows():
    assert len(set(choose(302)) - set(choose(301))) == 1
    assert gif.MAX_FRAMES == 200


class TestText:
    """Captions and names of rows: they have room of their own, and are not cut."""

    @staticmethod
    def ink(area):
        return np.abs(area.astype(int) - INK).max(2) < 60

    def test_a_caption_is_under_its_image_and_nowhere_else(self):
        p = images(3, 32, 32)
        bare = grid(p, 3, scale=3)
        page = grid(p, 3, scale=3, captions=["seed 7", "", "seed 9"])
        np.testing.assert_array_equal(page[: 2 + 96], bare[: 2 + 96])
        strip = self.ink(page[2 + 96 :])
        assert strip[:, 2:98].any() and not strip[:, 100:196].any() and strip[:, 198:].any()
        columns = np.flatnonzero(strip[:, 2:98].any(0))
        assert abs((columns[0] + columns[-1]) / 2 - 47.5) < 3  # in the middle

    @pytest.mark.parametrize("text", ["seed 18446744073709551615", "a class of a long name, with a comma"])
    def test_a_long_caption_stays_below_its_image(self, text):
        strip = self.ink(grid(images(3, 32, 32), 3, captions=["", text, ""])[2 + 96 :])
        assert strip[:, 98:198].any() and not strip[:, :98].any() and not strip[:, 198:].any()

    def test_images_too_narrow_for_text_get_room(self):
        p = images(2, 8, 8)
        page = grid(p, 2, gutter=1, scale=1, captions=["seed 1", "seed 2"])
        assert page.shape[1] == 1 + 2 * 65
        np.testing.assert_array_equal(page[1:9, 29:37], p[0])
        np.testing.assert_array_equal(page[1:9, 94:102], p[1])

    def test_the_height_does_not_depend_on_the_text(self):
        """Frames of a film have one size."""
        p = images(1, 16, 16)
        assert len({grid(p, 1, captions=[text]).shape for text in ("i", "seed 123456789, Ä → Q", "x" * 99)}) == 1

    def test_names_of_rows(self):
        p = images(4, 16, 16)
        bare, page = grid(p, 2, scale=4), grid(p, 2, scale=4, row_names=["cat", "a dog"])
        margin = page.shape[1] - bare.shape[1]
        np.testing.assert_array_equal(page[:, margin:], bare)
        cat, dog = (self.ink(page[top : top + 66, :margin]) for top in (0, 66))
        assert cat.any() and dog.sum() > cat.sum()
        assert grid(p, 2, scale=4, row_names=["x" * 500, ""]).shape[1] < bare.shape[1] + 200

    def test_many_rows_with_names_may_be_a_long_page(self):
        assert grid(images(60, 32, 32), 1, row_names=["x"] * 60).shape[0] > 2048
        assert grid(images(60, 32, 32), 1).shape[0] <= 2048

    def test_text_on_dark_paper_is_light(self):
        page = grid(images(1, 16, 16), 1, captions=["seed 1"], paper=(0, 0, 0))
        assert page[-16:].max() > 200
