"""How are the book's own figures drawn? Diagrams, light and dark, and three animations, by code.

    python book/figures.py                    # writes all of them into book/_static/figures/
    python book/figures.py cross_attention    # one of them

Diagrams are plain SVG, 720 units wide, so that they stay readable on a phone. Letters are drawn as
outlines of one font (DejaVu Sans, which matplotlib brings), so that they look the same everywhere.
What they are made of is in book/drawing/. Recordings come from the sample world; they are chosen by
a rule (`first_easy_recording`), not by their looks.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from drawing.alt import ALT
from drawing.animations import ANIMATIONS
from drawing.models import architecture_paper, architecture_released
from drawing.picture import theme
from drawing.teaching import afe_steps, cross_attention, events_idea

from safe_companion import ROOT

FOLDER = ROOT / "book" / "_static" / "figures"

DRAWINGS = {
    "architecture_paper": architecture_paper,
    "architecture_released": architecture_released,
    "cross_attention": cross_attention,
    "events_idea": events_idea,
    "afe_steps": afe_steps,
}


def main(names):
    """Writes the named figures, or all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if unknown := set(names) - ALT.keys():
        raise SystemExit(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(ALT)}")
    for name in names or ALT:
        if name in DRAWINGS:
            for variant in ("light", "dark"):
                picture = DRAWINGS[name](theme(variant))
                (FOLDER / f"{name}-{variant}.svg").write_text(picture.svg(), encoding="utf-8")
            continue
        draw, packing = ANIMATIONS[name]
        images = draw()
        animation = {"save_all": True, "append_images": images[1:], "loop": 0}
        images[0].save(FOLDER / f"{name}.webp", **animation, **packing)
        still = images[len(images) // 2]  # for readers who asked for less motion
        still.save(FOLDER / f"{name}-still.webp", quality=80)


if __name__ == "__main__":
    main(sys.argv[1:])
