"""What is the sample? Stand-ins of HARDVS and PokerEvent, and a third, by simulated cameras.

    from safe_companion import sample
    sample.make_sample("hardvs", "cache/hardvs")  # 24 actions x (48 train + 105 test) recordings
    sample.make_sample("pokerevent", "cache/pokerevent")  # 26 cards, aedat4 files
    sample.make_sample("conjunctions", "cache/conjunctions")  # 36 pairs, 24 of them in training

Nothing here is a real recording; names start with ``sample-``. The files have the data sets' own
layouts, so the readers for the real data read them too. What is modelled:

- scene: articulated figures (forward kinematics), hand-held cards or squares before a random
  background;
- RGB: linear light integrated over an exposure, shot and read noise, limited gain, gamma, 8 bits;
- events: contrast threshold on log intensity with per-pixel mismatch, leak, shot noise and
  refractory time, time stamps interpolated between rendered steps (ESIM, Rebecq et al. 2018; v2e,
  Hu et al. 2021).

The two modalities fail in different places by design: darkness and blur take RGB away; stillness,
equal luminance of actor and background, or noise take the events away. `World` holds every knob;
ground_truth.csv says what each recording drew.

Rooms, each using only those above it:

    world     the knobs, and what makes a recording hard
    painting  backgrounds, capsules, a card in linear light
    actions   the 24 actions, and the actor
    animals   shapes of the twelve cards that show one
    cards     the 26 cards, and the hand
    squares   the 36 conjunctions of a colour and a motion
    cameras   light -> RGB frames, light -> events
    film      one simulated recording
    writing   files in the data sets' own layouts, a whole sample
"""

from safe_companion.sample.actions import ACTIONS, JOINTS, mirror, pose_at, skeleton
from safe_companion.sample.animals import ANIMALS
from safe_companion.sample.cameras import expose, record_events, refractory_mask, threshold_events
from safe_companion.sample.cards import RANKS, card_art
from safe_companion.sample.film import (
    CLASSES,
    DATASET_IDS,
    SPLIT_IDS,
    Film,
    Truth,
    render_frames,
    simulate,
    stream,
    trained_labels,
)
from safe_companion.sample.squares import COLOURS, MOTIONS, PAIRS, UNSEEN
from safe_companion.sample.world import WORLD, Nuisance, World, draw_nuisance
from safe_companion.sample.writing import (
    EPOCH_US,
    class_folder,
    fingerprint,
    make_sample,
    sample_name,
)

__all__ = [
    "ACTIONS",
    "ANIMALS",
    "CLASSES",
    "COLOURS",
    "DATASET_IDS",
    "EPOCH_US",
    "JOINTS",
    "MOTIONS",
    "PAIRS",
    "RANKS",
    "SPLIT_IDS",
    "UNSEEN",
    "WORLD",
    "Film",
    "Nuisance",
    "Truth",
    "World",
    "card_art",
    "class_folder",
    "draw_nuisance",
    "expose",
    "fingerprint",
    "make_sample",
    "mirror",
    "pose_at",
    "record_events",
    "refractory_mask",
    "render_frames",
    "sample_name",
    "simulate",
    "skeleton",
    "stream",
    "threshold_events",
    "trained_labels",
]
