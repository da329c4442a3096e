"""How do the paper's model and the released one compute? Two diagrams, from top to bottom."""

from drawing.alt import ALT
from drawing.picture import Picture, heading, text_width

# What the released model computes otherwise: (whether the paper says something else, what it does).
RELEASED_DIFFERENCES = [
    (True, "class names as they are, without a sentence"),
    (True, "frames drawn at random, RGB and event apart"),
    (False, "all tokens through CLIP's projection to 512"),
    (True, "frames averaged: K tokens, not F × K"),
    (False, "one vector per modality, no position"),
    (True, "one joint block instead of one per branch"),
    (False, "one head, no residual, no LayerNorm"),
    (True, "the value is computed from the key"),
    (False, "one module for both branches"),
    (True, "branches are added, not concatenated"),
    (False, "the weights of the self-attention, again"),
]


class Diagram(Picture):
    """A picture with tags for the rows of Table 4, and numbers for the released differences."""

    def tag(self, x, y, string):
        """A dashed tag, centred on (x, y): a row of Table 4 switches the part off."""
        width = text_width(string, 17, "-Bold") + 22
        self.rect(
            x - width / 2, y - 14, width, 28, fill="tag_tint", stroke="tag", radius=14, dash="6 4"
        )
        self.text(x, y + 6, string, 17, style="-Bold")

    def marker(self, x, y, index):
        """The number of a difference, filled if it contradicts the paper."""
        contradicts = RELEASED_DIFFERENCES[index - 1][0]
        fill, ink = ("mark", "ground") if contradicts else ("ground", "ink")
        self.circle(x, y, 15, fill=fill, stroke="mark", line=2.5)
        self.text(x, y + 6, str(index), 17, style="-Bold", colour=ink)


# Lanes of the diagrams, mirrored: text tokens outside, visual tokens inside.
# (x, hue, offset and anchor of its labels).
OUTER = [(82, "text", 12, "start"), (638, "text", -12, "end")]
INNER = [(262, "rgb", -12, "end"), (458, "event", 12, "start")]
SIZES = [
    ("F", "frames of a clip: 5"),
    ("S", "image side: 224 pixels"),
    ("K", "tokens of an image: 1 + 14 × 14 = 197"),
    ("D", "width of a token: 768"),
    ("L", "classes: 300 (HARDVS) or 114 (PokerEvent)"),
    ("R", "read-out tokens, learned: 10"),
]


def person(p, x, y, scale, colour, *, line):
    """Somebody who raises one arm, drawn from lines.

    (x, y) is the top left of a square of 100 * scale units.
    """
    trunk = [(50, 36), (50, 62)]
    legs = [(62, 92), (50, 62), (36, 92)]
    arms = [(28, 58), (50, 40), (66, 30), (78, 10)]
    for limb in (trunk, legs, arms):
        p.path([(x + scale * a, y + scale * b) for a, b in limb], colour, line=line)
    head = (x + scale * 50, y + scale * 24)
    fill = colour if line > 3 else "none"
    p.circle(*head, 10 * scale, fill=fill, stroke=colour, line=line / 2)


def stack(p, x, y, hue):
    """A pile of RGB frames or event images; (x, y) is the middle of its top."""
    for back in (2, 1, 0):
        p.rect(
            x - 59 + 9 * back, y + 18 - 9 * back, 100, 80, fill=f"{hue}_tint", stroke=hue, radius=5
        )
    if hue == "rgb":
        person(p, x - 49, y + 18, 0.8, "ink", line=5)
    else:  # a moving edge leaves a brighter and a darker trace
        person(p, x - 52, y + 18, 0.8, "off", line=2.5)
        person(p, x - 46, y + 18, 0.8, "on", line=2.5)


def shape(p, x, y, side, anchor, letters, numbers=""):
    """A tensor's shape beside its lane at x: in letters, below them the paper's numbers."""
    p.text(x + side, y, letters, 18, anchor=anchor)
    if numbers:
        p.text(x + side, y + 23, numbers, 16, anchor=anchor, colour="soft")


def inputs(p, sentence, tower, images):
    """The upper part that both models share, down to the vision tower at y = 542."""
    for x, title, line in ((16, "class names", "L of them"), (260, *sentence), (504, *tower)):
        p.box(x, 90, 200, 84, title, line, hue="text", size=20)
    p.arrow((217, 132), (258, 132), colour="text")
    p.arrow((461, 132), (502, 132), colour="text")
    for (x, hue, *_), name in zip(INNER, ("RGB frames", "event images"), strict=True):
        stack(p, x, 266, hue)
        p.text(x, 390, name, 19, style="-Bold")
        p.text(x, 415, images, 18, colour="soft")
        p.arrow((x, 426), (x, 460), colour=hue)
    p.box(130, 462, 460, 80, "CLIP vision tower", "one and the same for both")


def attentions(p, y, tokens, end):
    """From the Transformers' lower edge y to the cross-attentions' at y + 316.

    Visual tokens go on beside them to `end`.
    """
    for x, hue, side, anchor in OUTER:
        p.arrow((x, y), (x, y + 222), colour=hue)
        shape(p, x, y + 38, side, anchor, "L × D")
        shape(p, x, y + 206, side, anchor, "queries")
    for x, hue, side, anchor in INNER:
        p.arrow((x, y), (x, y + 70), colour=hue)
        shape(p, x, y + 38, side, anchor, f"{tokens} × D")
    p.box(130, y + 72, 460, 80, "Self-attention", f"over [RGB, event]: 2 {tokens} tokens")
    for x, hue, left, edge, name in (
        (290, "rgb", 16, 210, "RGB"),
        (430, "event", 512, 510, "event"),
    ):
        p.arrow((x, y + 152), (x, end), colour=hue)
        p.arrow((x, y + 270), (edge, y + 270), colour=hue)
        for line, below in (("keys,", 260), ("values", 293)):
            p.text((x + edge) / 2, y + below, line, 17)
        p.box(left, y + 224, 192, 92, "Cross-attention", f"text asks {name}", hue=hue, size=19)
    for x, hue, *_ in OUTER:
        p.arrow((x, y + 316), (x, end), colour=hue)


def strip(p, y, parts):
    """Tokens side by side: (x, width, hue, name) each."""
    for x, width, hue, name in parts:
        p.rect(x, y, width, 40, fill=f"{hue}_tint", stroke=hue, radius=4)
        p.text(x + width / 2, y + 26, name, 18, room=width - 4)


def classifier(p, y, line):
    """Read-out tokens to scores, 200 units high."""
    p.arrow((360, y), (360, y + 52))
    shape(p, 360, y + 32, 14, "start", "R × D")
    p.box(130, y + 54, 460, 78, "Classifier", line)
    p.arrow((360, y + 133), (360, y + 168))
    p.text(360, y + 192, "L scores, one per class", 20, style="-Bold")


def sizes(p, y):
    """What the letters of the shapes mean, with the paper's sizes."""
    p.text(16, y, "Shapes (of one clip; the paper's sizes)", 20, anchor="start", style="-Bold")
    for i, (letter, meaning) in enumerate(SIZES):
        p.text(28, y + 32 + 27 * i, letter, 18, anchor="start", style="-Bold")
        p.text(58, y + 32 + 27 * i, meaning, 18, anchor="start", colour="soft")


def architecture_paper(colours):
    p = Diagram(colours, 1752, ALT["architecture_paper"])
    heading(p, "The paper's model", "as safe_core.py computes it, from top to bottom")

    # Text: one token per class, for both branches; down on both sides.
    p.path([(638, 174), (638, 226)], "text")
    p.path([(82, 226), (638, 226)], "text")
    for x, *_ in OUTER:
        p.arrow((x, 226), (x, 764), colour="text")
    inputs(
        p,
        ("sentences", "about each name"),
        ("CLIP text tower", "linear layer to D"),
        "F × 3 × S × S",
    )
    p.text(360, 218, "L × D, + modality embedding", 18, colour="soft")
    p.tag(360, 174, "w/o RW")
    p.tag(82, 262, "w/o SCI")
    p.tag(544, 270, "w/o AFE")
    p.tag(360, 542, "w/o LVM")

    for x, hue, side, anchor in INNER:
        p.arrow((x, 542), (x, 606), colour=hue)
        shape(p, x, 574, side, anchor, "F × K × D", "5 × 197 × 768")
        p.box(
            x - 94, 608, 188, 98, "+ embeddings", "position, frame,", "modality", hue=hue, size=20
        )
        p.arrow((x, 706), (x, 764), colour=hue)
        shape(p, x, 738, side, anchor, "N × D")

    for x, hue, name in ((16, "rgb", "RGB"), (372, "event", "event")):
        over = f"over [{name}, text]: N + L tokens"
        p.box(x, 766, 332, 88, "Multi-modal Transformer", over, hue=hue, size=20)
    attentions(p, 854, "N", 1262)
    p.tag(360, 854, "w/o MT")
    p.tag(360, 1006, "w/o SA")
    for x, _, side, anchor in OUTER:
        shape(p, x, 1224, side, anchor, "L × D")
    for x in (150, 570):
        p.tag(x, 1170, "w/o CA")
    p.box(306, 1080, 108, 88, "read-out", "tokens", "(learned)", size=18)
    p.arrow((360, 1168), (360, 1262))

    side_by_side = [
        (16, 196, "text", "L text"),
        (222, 98, "rgb", "N RGB"),
        (330, 60, "both", "R"),
        (400, 98, "event", "N event"),
        (508, 196, "text", "L text"),
    ]
    strip(p, 1264, side_by_side)
    p.text(360, 1332, "all tokens, side by side: 2 N + 2 L + R", 18, colour="soft")
    p.arrow((360, 1344), (360, 1378))
    p.box(60, 1380, 600, 80, "Final attention", "the read-out tokens ask all tokens")
    classifier(p, 1460, "LayerNorm, flatten, linear layer")

    choice = "The read-out tokens are our choice: the paper leaves it open."
    p.text(360, 1704, choice, 17, colour="soft")
    p.text(360, 1732, "Dashed: what a row of Table 4 switches off.", 17, colour="soft")
    return p


def architecture_released(colours):
    p = Diagram(colours, 2600, ALT["architecture_released"])
    heading(
        p, "The released model", "as safe_companion/released.py computes it, from top to bottom"
    )

    # Text: one row of tokens, for the one block.
    p.path([(638, 174), (638, 226)], "text")
    p.path([(82, 226), (638, 226)], "text")
    p.arrow((82, 226), (82, 830), colour="text")
    inputs(
        p,
        ("no sentence", "the bare name"),
        ("CLIP text tower", "linear layer to D"),
        "F × 3 × S × S",
    )
    p.text(360, 218, "L × D, + modality embedding", 18, colour="soft")
    p.marker(460, 90, 1)
    p.marker(360, 316, 2)
    p.marker(590, 542, 3)

    for x, hue, side, anchor in INNER:
        p.arrow((x, 542), (x, 606), colour=hue)
        shape(p, x, 574, side, anchor, "F × K × 512", "5 × 197 × 512")
        steps = ["mean of frames", "linear layer to D", "(one for both)", "+ modality", "embedding"]
        p.box(x - 94, 608, 188, 164, *steps, hue=hue, size=19)
        p.arrow((x, 772), (x, 830), colour=hue)
        shape(p, x, 804, side, anchor, "K × D")
    p.marker(360, 608, 4)
    p.marker(360, 772, 5)

    p.box(
        16,
        832,
        688,
        84,
        "Joint Transformer block, LayerNorm",
        "over [text, RGB, event]: L + 2 K tokens",
    )
    attentions(p, 916, "K", 1304)
    p.marker(688, 832, 6)
    p.marker(590, 988, 7)
    for i in range(3):
        for x in (116, 532):
            p.marker(x + 36 * i, 1232, 7 + i)

    p.box(16, 1306, 688, 80, "Addition", "RGB + event, and text + text")
    p.marker(688, 1306, 10)
    for x, hue in ((134, "text"), (360, "both")):
        p.arrow((x, 1386), (x, 1444), colour=hue)
    shape(p, 134, 1420, 12, "start", "L × D")
    shape(p, 360, 1420, 12, "start", "K × D")
    side_by_side = [
        (16, 236, "text", "L text"),
        (262, 196, "both", "K RGB + event"),
        (468, 236, "both", "R read-out (learned)"),
    ]
    strip(p, 1446, side_by_side)
    p.text(360, 1514, "all tokens, side by side: L + K + R", 18, colour="soft")
    p.arrow((360, 1526), (360, 1560))
    p.box(60, 1562, 600, 80, "Self-attention, once more", "the read-out tokens ask all tokens")
    p.marker(660, 1562, 11)
    classifier(p, 1642, "flatten, linear layer")
    sizes(p, 1898)
    p.text(16, 2130, "Differences", 20, anchor="start", style="-Bold")
    legend = "filled: differs from the paper; hollow: the paper does not settle it"
    p.text(16, 2158, legend, 18, anchor="start", colour="soft")
    for i, (_, words) in enumerate(RELEASED_DIFFERENCES, start=1):
        p.marker(36, 2154 + 38 * i, i)
        p.text(64, 2160 + 38 * i, words, 18, anchor="start")
    return p
