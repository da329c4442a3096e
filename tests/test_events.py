"""Event streams become event images and windows as documented."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recipes import SIZE, make_events, random_events

import safe_core
from safe_companion import events

# (x, y, t, p): pixel (1, 0) sees ON, ON, OFF; pixel (7, 5) one ON at the end
FOUR = make_events((1, 0, 0, 1), (1, 0, 250, 1), (1, 0, 500, 0), (7, 5, 1000, 1))

Row = tuple[int, int, int, int]
streams = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 5), st.integers(0, 5000), st.integers(0, 1)),
    min_size=1,
    max_size=80,
).map(lambda rows: make_events(*sorted(rows, key=lambda row: row[2])))


# ---------------------------------------------------------------- event images


def test_every_representation_that_can_be_chosen_is_implemented():
    assert tuple(events.BACKGROUND) == safe_core.CHOICES["event_representation"]


def test_count_image_counts_by_polarity_with_on_first():
    counts = events.count_image(FOUR, SIZE)
    assert counts.shape == (2, 6, 8) and counts.dtype == np.int32
    assert counts[:, 0, 1].tolist() == [2, 1]
    assert counts[:, 5, 7].tolist() == [1, 0]
    assert counts.sum() == 4


def test_voxel_grid_shares_events_between_neighbouring_instants():
    # time 0 is in bin 0; 250 half in 0, half in 1; 500 in bin 1; 1000 in bin 2
    grid = events.voxel_grid(FOUR, SIZE, 3)
    assert grid.shape == (3, 6, 8) and grid.dtype == np.float32
    assert grid[:, 0, 1].tolist() == [1.5, -0.5, 0.0]
    assert grid[:, 5, 7].tolist() == [0.0, 0.0, 1.0]
    assert np.count_nonzero(grid) == 3


def test_voxel_grid_starts_at_the_first_event_wherever_the_clock_stands():
    later = FOUR.copy()
    later["t"] += 10**12
    assert (events.voxel_grid(later, SIZE, 3) == events.voxel_grid(FOUR, SIZE, 3)).all()


@pytest.mark.parametrize("bins", [1, 4])
def test_voxel_grid_of_one_instant_has_all_in_the_first_bin(bins):
    same_time = make_events((2, 1, 70, 1), (2, 1, 70, 1), (3, 4, 70, 0))
    grid = events.voxel_grid(same_time, SIZE, bins)
    assert grid[0, 1, 2] == 2 and grid[0, 4, 3] == -1 and not grid[1:].any()


def test_time_surface_decays_from_the_last_event():
    surface = events.time_surface(FOUR, SIZE, 500)
    assert surface.shape == (2, 6, 8) and surface.dtype == np.float32
    assert surface[:, 5, 7].tolist() == [1, 0]
    assert surface[:, 0, 1] == pytest.approx([np.exp(-1.5), np.exp(-1.0)])
    assert np.count_nonzero(surface) == 3


def test_authors_image_shows_the_last_polarity_on_white():
    image = events.event_image(FOUR, SIZE, "authors")
    assert image.shape == (3, 6, 8) and image.dtype == np.uint8
    assert image[:, 0, 1].tolist() == [30, 30, 200] == list(events.OFF_COLOUR)
    assert image[:, 5, 7].tolist() == [220, 30, 30] == list(events.ON_COLOUR)
    assert (image == 255).all(0).sum() == 46


def test_other_event_images_follow_their_documented_scale():
    counts = events.event_image(FOUR, SIZE, "counts")
    assert counts[:, 0, 1].tolist() == [2 * 255 // 8, 255 // 8, 0]
    assert counts[:, 5, 7].tolist() == [255 // 8, 0, 0]
    voxel = events.event_image(FOUR, SIZE, "voxel")
    assert voxel[:, 3, 3].tolist() == [128] * 3
    assert voxel[:, 0, 1].tolist() == [176, 112, 128]
    assert voxel[:, 5, 7].tolist() == [128, 128, 160]
    surface = events.event_image(FOUR, SIZE, "time_surface")  # the constant is 50 ms
    assert surface[:, 5, 7].tolist() == [255, 0, 0]
    slow = FOUR.copy()
    slow["t"] *= 100
    surface = events.event_image(slow, SIZE, "time_surface")
    assert surface[:, 0, 1].tolist() == [round(255 * np.exp(-1.5)), round(255 * np.exp(-1)), 0]


@pytest.mark.parametrize("polarity, extreme", [(1, 255), (0, 1)])
def test_event_images_saturate(polarity, extreme):
    many = np.repeat(make_events((3, 2, 0, polarity)), 100)
    voxel = events.event_image(many, SIZE, "voxel")
    assert voxel[:, 2, 3].tolist() == [extreme, 128, 128]
    counts = events.event_image(many, SIZE, "counts")
    assert counts[:, 2, 3].tolist() == [255 * polarity, 255 * (1 - polarity), 0]
    assert events.event_image(many[:8], SIZE, "counts").max() == 255
    assert events.event_image(many[:7], SIZE, "counts").max() == 7 * 255 // 8


@pytest.mark.parametrize("representation", events.BACKGROUND)
def test_without_events_an_event_image_is_background(representation):
    image = events.event_image(FOUR[:0], SIZE, representation)
    assert image.shape == (3, 6, 8)
    assert (image == {"authors": 255, "voxel": 128}.get(representation, 0)).all()
    assert events.BACKGROUND[representation] == image[0, 0, 0]


def test_event_images_refuse_what_they_would_misplace():
    with pytest.raises(ValueError, match="outside the sensor of 6x8"):
        events.count_image(FOUR, (6, 8))
    for size in ((7, 6), (8, 5)):
        for representation in events.BACKGROUND:
            with pytest.raises(ValueError, match="outside the sensor"):
                events.event_image(FOUR, size, representation)
    odd = FOUR.copy()
    odd["p"][2] = 2
    with pytest.raises(ValueError, match="polarities other than 0 and 1"):
        events.count_image(odd, SIZE)
    with pytest.raises(TypeError, match="EVENT_DTYPE"):
        events.count_image(FOUR.astype([(key, "i8") for key in "xytp"]), SIZE)
    with pytest.raises(ValueError, match="voxels.*authors, counts"):
        events.event_image(FOUR, SIZE, "voxels")


@settings(max_examples=40, deadline=None)
@given(streams, st.integers(1, 6))
def test_images_agree_with_their_definition_in_plain_python(stream, bins):
    first, last = int(stream["t"][0]), int(stream["t"][-1])
    counts = np.zeros((2, 6, 8))
    surface = np.zeros((2, 6, 8))
    grid = np.zeros((bins, 6, 8))
    for x, y, t, p in stream.tolist():
        channel = 0 if p else 1
        counts[channel, y, x] += 1
        surface[channel, y, x] = np.exp((t - last) / 700)
        at = (t - first) / (last - first) * (bins - 1) if last > first else 0
        for instant in range(bins):
            share = max(0, 1 - abs(at - instant))
            grid[instant, y, x] += share if p else -share
    assert (events.count_image(stream, SIZE) == counts).all()
    assert events.time_surface(stream, SIZE, 700) == pytest.approx(surface, abs=1e-6)
    assert events.voxel_grid(stream, SIZE, bins) == pytest.approx(grid, abs=1e-4)


# ---------------------------------------------------------------- windows


@settings(max_examples=40, deadline=None)
@given(streams, st.integers(1, 6))
def test_no_event_is_lost_or_in_two_windows(stream, count):
    jitter = np.random.default_rng(0)
    for windows in (
        events.equal_windows(stream["t"], count),
        events.equal_windows(stream["t"], count, rng=jitter),
        events.adaptive_windows(stream, SIZE, min_events=count, threshold=0),
        events.adaptive_windows(stream, SIZE, min_events=count, threshold=40),
    ):
        assert [i for a, b in windows for i in range(a, b)] == list(range(len(stream)))


def test_a_frame_is_paired_with_the_events_up_to_the_next():
    frame_t, t = np.array([100, 200, 300]), np.arange(50, 500, 10)
    windows = events.frame_windows(frame_t, t)
    assert [(t[a], t[b - 1]) for a, b in windows] == [(100, 190), (200, 290), (300, 390)]


def test_the_last_frame_needs_half_an_interval_of_events():
    frame_t, t = np.array([100, 200, 300]), np.arange(50, 500, 10)
    assert len(events.frame_windows(frame_t, t[t <= 350])) == 3
    assert len(events.frame_windows(frame_t, t[t < 340])) == 2
    assert len(events.frame_windows(frame_t, t[t < 150])) == 2  # the second frame sees no motion
    assert len(events.frame_windows(frame_t, np.arange(100, 350))) == 3
    assert len(events.frame_windows(frame_t, np.arange(100, 349))) == 2


def test_a_single_frame_takes_all_events_from_its_time_on():
    t = np.arange(50, 500, 10)
    assert events.frame_windows(np.array([100]), t) == [(5, 45)]
    assert events.frame_windows(np.array([900]), t) == [(45, 45)]


def test_the_window_of_the_last_frame_is_one_median_interval():
    t = np.arange(0, 1000)
    windows = events.frame_windows(np.array([0, 10, 20, 30, 500]), t)
    assert windows[-1] == (500, 510)


def test_equal_windows_have_the_same_duration_whatever_the_rate():
    t = np.array([0, 1, 2, 3, 50, 98, 99])
    assert events.equal_windows(t, 2) == [(0, 4), (4, 7)]
    assert events.equal_windows(t, 4) == [(0, 4), (4, 4), (4, 5), (5, 7)]
    assert events.equal_windows(t, 1) == [(0, 7)]


def test_equal_windows_are_shifted_by_up_to_a_quarter():
    t = np.arange(1000)
    starts = [
        events.equal_windows(t, 4, rng=np.random.default_rng(seed))[1][0] for seed in range(200)
    ]
    assert 188 <= min(starts) < 200 and 300 < max(starts) <= 313
    first, second, third, fourth = events.equal_windows(t, 4, rng=np.random.default_rng(1))
    assert second[1] - second[0] == pytest.approx(250, abs=1)  # all edges are shifted alike
    assert third[1] - third[0] == pytest.approx(250, abs=1)
    assert first[0] == 0 and fourth[1] == 1000


# ---------------------------------------------------------------- adaptive windows


def block(x0, count, start):
    """A 3 x 3 block of ON events at x0, `count` times over."""
    rows = [(x0 + i % 3, 1 + i // 3 % 3, start + i, 1) for i in range(9 * count)]
    return make_events(*rows)


def windows_of(*parts, **options):
    return events.adaptive_windows(np.concatenate(parts), SIZE, **options)


def test_opening_keeps_squares_of_two_pixels_and_drops_what_is_thinner():
    counts = np.zeros((2, 6, 8), np.int32)
    counts[0, 0, :] = 5  # a line
    counts[0, 3:5, 6:8] = [[4, 3], [9, 7]]
    counts[1, 2:5, 1:4] = 2
    expected = np.zeros((2, 6, 8), np.int32)
    expected[0, 3:5, 6:8] = 3
    expected[1, 2:5, 1:4] = 2
    assert (events.opened(counts) == expected).all()


def test_half_difference_is_0_of_like_halves_and_200_of_foreign_ones():
    here, there = block(1, 4, 0), block(5, 4, 0)
    assert events.half_difference(here, here, SIZE) == 0
    assert events.half_difference(here, there, SIZE) == 200
    both = np.concatenate([here, there])
    assert events.half_difference(here, both, SIZE) == pytest.approx(200 * 36 / 108)
    assert events.half_difference(both, here, SIZE) == pytest.approx(200 * 36 / 108)
    lone = make_events((0, 0, 0, 1), (7, 5, 0, 1))
    assert events.half_difference(lone, make_events((3, 3, 0, 0)), SIZE) == 0


def test_half_difference_tells_on_from_off():
    on, off = block(1, 4, 0), block(1, 4, 0)
    off["p"] = 0
    assert events.half_difference(on, off, SIZE) == 200


def test_afe_keeps_a_stationary_stream_and_splits_a_moving_one():
    stationary = (block(1, 4, 0), block(1, 4, 1000))
    moving = (block(0, 4, 0), block(5, 4, 1000))
    assert windows_of(*stationary, min_events=9, threshold=30) == [(0, 72)]
    assert windows_of(*moving, min_events=9, threshold=30) == [(0, 36), (36, 72)]


def test_afe_splits_at_a_difference_equal_to_its_threshold():
    moving = (block(0, 4, 0), block(5, 4, 1000))
    assert len(windows_of(*moving, min_events=9, threshold=200)) == 2
    assert windows_of(*moving, min_events=9, threshold=200.1) == [(0, 72)]


def test_afe_splits_each_half_on_its_own():
    parts = (block(0, 4, 0), block(0, 4, 1000), block(0, 4, 2000), block(5, 4, 3000))
    windows = windows_of(*parts, min_events=30, threshold=60)
    assert windows == [(0, 72), (72, 108), (108, 144)]


def test_afe_never_makes_a_half_smaller_than_the_minimum():
    stream = random_events(1000)
    assert len(events.adaptive_windows(stream, SIZE, min_events=125, threshold=0)) == 8
    assert len(events.adaptive_windows(stream, SIZE, min_events=126, threshold=0)) == 4
    assert len(events.adaptive_windows(stream, SIZE, min_events=501, threshold=0)) == 1
    assert events.adaptive_windows(stream[:3], SIZE, min_events=0, threshold=0) == [
        (0, 1),
        (1, 2),
        (2, 3),
    ]


def test_afe_halves_by_count_and_not_by_time():
    stream = random_events(40)
    stream["t"][:20] = np.arange(20)
    stream["t"][20:] = np.arange(10**6, 10**6 + 20)
    windows = events.adaptive_windows(stream, SIZE, min_events=10, threshold=0)
    assert windows == [(0, 10), (10, 20), (20, 30), (30, 40)]
