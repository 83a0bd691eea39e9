"""Pictures that carry their own number."""

import numpy as np

WIDTH, HEIGHT, BITS = 160, 96, 10


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A moving gradient with the number in black and white squares along the top."""
    ramp = np.add.outer(np.arange(height), np.arange(width)) % 256
    image = np.stack([np.roll(ramp, number * 3, 1), np.roll(ramp, -number * 2, 0), ramp], -1).astype(np.uint8)
    for bit in range(BITS):
        image[0:16, bit * 16 : bit * 16 + 16] = 255 if number >> bit & 1 else 0
    return image


def checked_picture(number: int) -> np.ndarray:
    """Return a larger such picture (192, 320, 3) that has the opposite squares below, as a check."""
    image = picture(number, 2 * WIDTH, 2 * HEIGHT)
    image[16:32, : 16 * BITS] = 255 - image[0:16, : 16 * BITS]
    return image


def clear_number(image: np.ndarray) -> int:
    """Read the number of a checked picture; -1 where a square is neither black nor white, or fails the check."""
    if image.shape[0] < 32 or image.shape[1] < 16 * BITS:
        return -1
    squares = np.array([[image[y + 4 : y + 12, b * 16 + 4 : b * 16 + 12].mean() for b in range(BITS)] for y in (0, 16)])
    if (np.abs(squares - 127.5) < 60).any() or ((squares[0] > 127.5) == (squares[1] > 127.5)).any():
        return -1
    return number_of(image)


def number_of(image: np.ndarray) -> int:
    """Read the number back."""
    return sum(int(image[4:12, bit * 16 + 4 : bit * 16 + 12].mean() > 128) << bit for bit in range(BITS))


def irregular(number: int) -> int:
    """Presentation time of a variable-rate video, in 1/12800 s."""
    return number * 533 + (5000 if number > 30 else 0) + (number // 7) * 900
