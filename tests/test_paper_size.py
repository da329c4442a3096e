"""The paper's own size: CLIP ViT-B/16 at 224 pixels."""

from pathlib import Path

import open_clip
import torch
from recipes import gray_frames, random_events, save_images, save_npz, write_lists
from torch.utils.data import DistributedSampler

import safe_core
from safe_companion import datasets, packing, prompts
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


def test_three_steps_of_the_paper_from_packed_recordings(tmp_path):
    """HARDVS-like recordings -> packs -> clips resized in a batch -> ViT-B/16; F = 2: faster."""
    size, names = (346, 260), ["wave", "bow", "jump"]
    root, packs = tmp_path / "root", tmp_path / "packs"
    items = {split: [(f"action_{i}/{split}", i) for i in range(3)] for split in ("train", "test")}
    for name, label in items["train"] + items["test"]:
        stream = random_events(20_000, size, seed=label)
        save_npz(root / name / f"{Path(name).name}.npz", stream)
        save_images(root / name / f"{Path(name).name}_aps", gray_frames(6, size), stride=5)
    write_lists(root, items["train"], items["test"])
    (root / "classes.txt").write_text("\n".join(names))
    packing.pack_folder(root, packs)
    fields = {"data_root": str(packs), "pretrained": False, "batch_size": 1}
    fields |= {
        "epochs": 1,
        "frames": 2,
        "resize": "device",
        "workers": 0,
        "val_fraction": 0.0,
        "select_on": "test",
    }
    config = safe_core.configure("paper", **fields)
    train = datasets.open_dataset(config).train
    assert train.recording(0).events is not None and not (packs / "action_0/train").exists()

    torch.manual_seed(0)
    model = safe_core.SAFE(config, prompts.prompt_sentences(names, config))
    trained = {"model": model, "optimizer": safe_core.make_optimizer(model, config)}
    trained["scaler"] = torch.amp.GradScaler("cpu", enabled=False)
    before = model.vision.net.conv1.weight.detach().clone()
    losses = []
    sampler = DistributedSampler(train, 1, 0)
    safe_core.train_epoch(model, sampler, trained, 0, config, lambda *s: losses.append(s))
    assert [step[:3] for step in losses] == [(1, 3, 3), (2, 3, 3), (3, 3, 3)]
    assert all(0 < loss < 20 for *_, loss in losses)
    assert not torch.equal(model.vision.net.conv1.weight, before)
