"""What does each figure show, in words? Its alternative text."""

ALT = {
    "architecture_paper": (
        "Diagram of the paper's SAFE model, read from top to bottom. Class names become sentences "
        "and pass through CLIP's text tower to L text tokens. RGB frames and event images pass "
        "through one shared CLIP vision tower, to 5 times 197 tokens of width 768 each, and get "
        "position, frame and modality embeddings. The RGB and the event branch each have a "
        "multi-modal Transformer over their visual tokens and the text tokens. A self-attention "
        "then mixes RGB and event tokens. In each branch a cross-attention lets the text tokens "
        "query the visual tokens. All tokens and ten learned read-out tokens meet in a final "
        "attention, and a linear classifier gives one score per class. Dashed tags mark what the "
        "rows of Table 4 switch off: text (SCI), CLIP's vision tower (LVM), the multi-modal "
        "Transformers (MT), self-attention (SA), cross-attention (CA), rewritten prompts (RW), "
        "adaptive event windows (AFE)."
    ),
    "architecture_released": (
        "Diagram of the model that the released code computes, read from top to bottom, with "
        "eleven numbered differences to the paper. Bare class names pass through CLIP's text "
        "tower. Frames and event images, drawn independently, pass through CLIP's vision tower "
        "with its projection to 512 and are averaged over the frames. One joint block works on "
        "text, RGB and event tokens together. A single-head self-attention mixes RGB and event "
        "tokens. One cross-attention module serves both branches and computes its value from the "
        "key. RGB and event tokens are added, and so are the two text outputs. The same "
        "self-attention runs once more over all tokens and ten read-out tokens, and a linear "
        "layer classifies. Filled numbers contradict the paper; hollow ones concern what the "
        "paper does not settle."
    ),
    "cross_attention": (
        "Teaching picture of cross-attention with invented numbers. Three class names on the left "
        "are the queries, six patches of an image at the top are keys and values. Between them "
        "lies a table of three rows and six columns; each row holds percentages that add up to "
        "100. The row of waving puts most weight on the patch with the raised arm, the row of "
        "kicking on the patch with the leg. On the right each row gives one output token, the "
        "average of the patches' values weighted by that row."
    ),
    "events_idea": (
        "Two plots over the same time axis. Above, the logarithm of the light on one pixel rises, "
        "falls steeply, and rises slowly again, across evenly spaced threshold lines. Below, each "
        "crossing upwards is an upward red ON event and each crossing downwards a downward blue "
        "OFF event: many where the light changes fast, none where it stays the same."
    ),
    "afe_steps": (
        "Adaptive event windows step by step, on one recording of the PokerEvent sample. At the "
        "top, the number of events over time goes up and down. Below, a tree on the same time "
        "axis: the stream is halved by event count into two windows and then into four; windows "
        "are short where many events happen. At the bottom, the four event images of the final "
        "windows."
    ),
    "hardvs": (
        "Animation of one generated recording of the HARDVS sample: on the left the RGB frames of "
        "a figure that swings its arms, on the right the event image of the same moment, red "
        "where pixels grew brighter and blue where they grew darker."
    ),
    "pokerevent": (
        "Animation of one generated recording of the PokerEvent sample: on the left the RGB "
        "frames of a hand that holds a playing card, on the right the event image of the same "
        "moment, red where pixels grew brighter and blue where they grew darker."
    ),
    "events_cloud": (
        "Animation of the events of one generated recording of the HARDVS sample as points in "
        "space and time: red ON and blue OFF events. The view turns slowly, from the sensor "
        "plane, where the figure is seen, to the side, where the motion is spread along the time "
        "axis."
    ),
}
