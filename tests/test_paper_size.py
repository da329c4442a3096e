"""The paper's own size: CLIP ViT-B/16 at 224 pixels."""

import open_clip
import torch

import safe_core
from safe_core import configure


def test_paper_size_tower_gives_197_tokens_of_width_768():
    config = configure("paper", pretrained=False, frames=1)
    clip, _ = safe_core.build_clip(config)
    projection = clip.visual.proj
    tower = safe_core.VisionTower(config, clip).eval()
    reference = open_clip.create_model("ViT-B-16-quickgelu").visual.eval()
    reference.load_state_dict(clip.visual.state_dict() | {"proj": projection})
    images = torch.randint(0, 255, (1, 3, 224, 224), dtype=torch.uint8)
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    with torch.no_grad():  # the class token, projected, is CLIP's own image feature
        tokens = tower(images)
        assert tokens.shape == (1, 197, 768)
        feature = reference((images / 255 - mean) / std)
        torch.testing.assert_close(tokens[:, 0] @ projection, feature, atol=1e-4, rtol=1e-3)
