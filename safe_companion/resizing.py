"""How are all images of a batch cut, resized and brightened at once, on the device they lie on?

The same as augmentation.stack_images, within one or two grey levels: Pillow's antialiased bilinear
filter is linear in rows and in columns, so a matrix product for each does it. N images of at most
H x W pixels, S the side of the result.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from safe_companion.augmentation import Augmentation, seen

# What is known of each image: its size, what of it is seen, where that lies, and how it is changed.
LOOK = (
    *("width", "height", "left", "top", "right", "bottom", "x0", "y0", "x1", "y1"),
    *("flip", "gain", "offset", "background"),
)


def native(
    images: Sequence[Image.Image | np.ndarray],
    augmentations: Sequence[Augmentation],
    *,
    side: int,
    background: int,
    recolour: bool,
) -> tuple[Tensor, Tensor]:
    """(pixels uint8 [F, H, W, 3], looks float32 [F, 14]) of F images, as `resized` takes them.

    images: also as uint8 [H, W, 3].
    """
    looks = []
    pixels = []
    for image, augmentation in zip(images, augmentations, strict=True):
        if isinstance(image, Image.Image):
            image = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
        pixels.append(image)
        height, width = image.shape[:2]
        (left, top, right, bottom), place = seen(augmentation.box, side)
        box = (left * width, top * height, right * width, bottom * height)
        levels = (augmentation.gain, augmentation.offset) if recolour else (1.0, 0.0)
        looks.append([width, height, *box, *place, augmentation.flip, *levels, background])
    if len({array.shape for array in pixels}) == 1:
        together = torch.from_numpy(np.stack(pixels))  # one copy, of read-only pixels, too
    else:
        together = padded([torch.from_numpy(array.copy()) for array in pixels])
    return together, torch.tensor(looks, dtype=torch.float32)


def unchanged(looks: Tensor) -> Tensor:
    """Looks [..., 14] that neither brighten nor contrast; the same else."""
    changed = looks.clone()
    changed[..., LOOK.index("gain")] = 1.0
    changed[..., LOOK.index("offset")] = 0.0
    return changed


def padded(images: Sequence[Tensor]) -> Tensor:
    """uint8 [..., H, W, 3] tensors in one, the smaller ones with zeros on the right and below."""
    height = max(image.shape[-3] for image in images)
    width = max(image.shape[-2] for image in images)
    if all(image.shape[-3:-1] == (height, width) for image in images):
        return torch.stack(list(images))
    whole = images[0].new_zeros(len(images), *images[0].shape[:-3], height, width, 3)
    for place, image in zip(whole, images, strict=True):
        place[..., : image.shape[-3], : image.shape[-2], :] = image
    return whole


def _weights(
    start: Tensor, stop: Tensor, first: Tensor, last: Tensor, size: Tensor, *, most: int, side: int
) -> Tensor:
    """How much each of `most` pixels has in each of `side` new ones: float32 [N, side, most].

    start, stop: of the seen part, in pixels; first, last: where it comes to lie; size: pixels that
    there are; each [N, 1, 1]. A triangle as wide as a new pixel is, but at least as an old one;
    weights of a new pixel sum to 1, or are 0 where it shows nothing of the image.
    """
    scale = (stop - start) / (last - first)
    new = torch.arange(side, device=start.device).view(1, side, 1)
    old = torch.arange(most, device=start.device).view(1, 1, most)
    centre = start + (new - first + 0.5) * scale
    weights = (1 - ((old + 0.5 - centre) / scale.clamp(min=1)).abs()).clamp(min=0)
    weights = weights * ((old < size) & (new >= first) & (new < last))
    return weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-12)


def resized(pixels: Tensor, looks: Tensor, side: int) -> Tensor:
    """uint8 [..., 3, S, S] of pixels uint8 [..., H, W, 3] and looks float32 [..., 14]."""
    before = pixels.shape[:-3]
    images = pixels.flatten(0, -4).permute(0, 3, 1, 2)
    look = dict(zip(LOOK, looks.flatten(0, -2).T.unflatten(1, (-1, 1, 1)), strict=True))
    height, width = images.shape[2:]
    with torch.autocast(pixels.device.type, enabled=False):
        across = _weights(
            *(look[key] for key in ("left", "right", "x0", "x1", "width")), most=width, side=side
        )
        down = _weights(
            *(look[key] for key in ("top", "bottom", "y0", "y1", "height")), most=height, side=side
        )
        across = torch.where(look["flip"] > 0, across.flip(1), across)
        rows = images.float() @ across.transpose(1, 2)[:, None]  # [N, 3, H, S]
        rows.add_(0.5).floor_()  # Pillow rounds after either, halves up
        found = (down[:, None] @ rows).add_(0.5).floor_()
        inside = (down.sum(2) > 0.5)[:, None, :, None] & (across.sum(2) > 0.5)[:, None, None, :]
        values = torch.where(inside, found, look["background"][..., None])
        values = (values - 128) * look["gain"][..., None] + 128 + look["offset"][..., None]
    return values.clamp_(0, 255).to(torch.uint8).unflatten(0, before)
