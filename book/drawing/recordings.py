"""Which recording do the figures show? One of the sample world, by a rule and not by its looks."""

import numpy as np
from PIL import Image

from safe_companion import sample
from safe_companion.events import EVENT_DTYPE, event_image

SIZE = (sample.WORLD.width, sample.WORLD.height)  # of the sample's sensor


def first_easy_recording(dataset):
    """(events from t = 0, frames [F, H, W, 3], frame times, class name, sample name).

    The first test recording of the generated sample's first class that is hard for neither
    modality; filmed again from its seed, bit for bit the one in the sample.
    """
    label = 0
    for index in range(100):
        seed = [0, sample.DATASET_IDS[dataset], sample.SPLIT_IDS["test"], label, index]
        film = sample.simulate(dataset, label, np.random.SeedSequence(seed))
        if film["truth"]["cause"] == "none":
            events = np.empty(len(film["events"]["t"]), EVENT_DTYPE)
            for column in events.dtype.names:
                events[column] = film["events"][column]
            name = sample.sample_name("test", label, index)
            return events, film["frames"], film["frame_t"], sample.CLASSES[dataset][label], name
    raise RuntimeError(f"{dataset}: 100 recordings, and each is hard for a modality")


def authors_image(events):
    """The event image of these events in the authors' colours."""
    pixels = event_image(events, SIZE, "authors")
    return Image.fromarray(pixels.transpose(1, 2, 0))
