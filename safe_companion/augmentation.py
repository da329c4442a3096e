"""How are the images of a clip shifted, mirrored and brightened, and cut to the model's size?

F frames, S image size.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image


@dataclass(frozen=True)
class Augmentation:
    """Where to look in an image, and how.

    box: (left, top, right, bottom) in fractions of the image, may reach beyond it. flip: mirrored
    left to right. gain and offset: contrast around mid-grey and brightness, for RGB only.
    """

    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    flip: bool = False
    gain: float = 1.0
    offset: float = 0.0


RANKS = set(
    "ace jack queen king joker zero one two three four five six seven eight nine ten".split()
)
SIDED = ("left", "right", "clockwise", "anticlockwise", "counterclockwise", "letter", "digit")


def flip_permitted(class_name: str) -> bool:
    """Whether a mirrored clip still shows the class.

    Not for names with left, right or a sense of rotation; nor for card ranks, digits, letters and
    shapes named after letters ("L type clamp back"), whose mirror image is another sign. A rank in
    a phrase is none ("jumping jack").
    """
    if len(class_name) == 1 or class_name.lower() in RANKS:
        return False
    ordinal_number_or_word = r"\d+(?:st|nd|rd|th)\b|\d+|[A-Z]?[a-z]+|[A-Z]+(?![a-z])"
    for token in re.findall(ordinal_number_or_word, class_name):
        letters = token.isupper() and len(token) <= 3
        if token.lower().startswith(SIDED) or token.isdigit() or letters:
            return False
    return True


def draw_augmentation(rng: np.random.Generator, class_name: str) -> Augmentation:
    """Zoom by up to 10 %, shift by up to 5 %, mirror where permitted, brighten and contrast."""
    half = rng.uniform(0.9, 1.1) / 2
    x, y = 0.5 + rng.uniform(-0.05, 0.05, 2)
    flip = rng.random() < 0.5 and flip_permitted(class_name)
    gain = rng.uniform(0.8, 1.2)
    offset = rng.uniform(-25, 25)
    return Augmentation((x - half, y - half, x + half, y + half), flip, gain, offset)


def draw_frame_augmentation(rng: np.random.Generator) -> Augmentation:
    """Shift by up to 10 of 224 pixels and mirror half of the time, whatever the class.

    This is what the released code draws for each image.
    """
    x, y = rng.uniform(-10, 10, 2) / 224
    return Augmentation((x, y, 1 + x, 1 + y), rng.random() < 0.5)


def _levels(augmentation: Augmentation) -> bytes:
    """The new value of each of the 256 pixel values under gain and offset."""
    values = (np.arange(256) - 128) * augmentation.gain + 128 + augmentation.offset
    return values.clip(0, 255).astype(np.uint8).tobytes()


Box = tuple[float, float, float, float]  # left, top, right, bottom


def seen(box: Box, side: int) -> tuple[Box, tuple[int, int, int, int]]:
    """What of a box lies in the image, in fractions of it, and the pixels where that comes to lie.

    Those are (left, top, right, bottom) of a canvas of side x side pixels, which the box fills.
    """
    left, top, right, bottom = box
    inside = max(left, 0), max(top, 0), min(right, 1), min(bottom, 1)
    x0 = round((inside[0] - left) / (right - left) * side)
    x1 = round((inside[2] - left) / (right - left) * side)
    y0 = round((inside[1] - top) / (bottom - top) * side)
    y1 = round((inside[3] - top) / (bottom - top) * side)
    return inside, (x0, y0, x1, y1)


def stack_images(
    images: Sequence[Image.Image],
    augmentation: Augmentation,
    *,
    side: int,
    background: int,
    recolour: bool,
) -> torch.Tensor:
    """The augmentation's box of F images, bilinear and antialiased: uint8 [F, 3, S, S], S = side.

    background: pixel value beyond the image. recolour: whether gain and offset apply.
    """
    (left, top, right, bottom), (x0, y0, x1, y1) = seen(augmentation.box, side)
    canvas = Image.new("RGB", (side, side * len(images)), (background,) * 3)  # one below the other
    for i, image in enumerate(images):
        width, height = image.size
        # The box holds fractions of pixels, which Pillow resizes and torchvision's crops round.
        box = (left * width, top * height, right * width, bottom * height)
        part = image.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR, box)
        canvas.paste(part, (x0, i * side + y0))
    content = canvas.tobytes()
    if recolour:
        content = content.translate(_levels(augmentation))
    pixels = np.frombuffer(content, np.uint8).reshape(len(images), side, side, 3)
    if augmentation.flip:
        pixels = pixels[:, :, ::-1]
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
