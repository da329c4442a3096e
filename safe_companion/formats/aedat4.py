"""What does an AEDAT4 file hold? Events, frames, or both, of iniVation's cameras."""

import os
import struct
from pathlib import Path

import aedat
import numpy as np

from safe_companion.formats.content import (
    EventFile,
    ImageSource,
    RecordingError,
    check_memory,
    unreadable,
)


def _check_header(path: Path) -> None:
    """Raise on what would abort the interpreter inside the decoder: wrong lengths, no UTF-8.

    Damage inside the packets is left to the decoder, which raises for most of it.
    """
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        magic = file.read(14)
        position = 18 + int.from_bytes(file.read(4), "little")
        if magic != b"#!AER-DAT4.0\r\n" or position > size:
            raise ValueError("not the AEDAT4 magic number, or a header longer than the file")

        # FlatBuffers table: compression, end of the packets (-1: of the file), information (XML)
        header = file.read(position - 18)

        def number(form: str, at: int) -> int:
            return struct.unpack_from(form, header, at)[0]

        table = number("<I", 0)
        vtable = table - number("<i", table)
        end_field = number("<H", vtable + 6)
        text_field = number("<H", vtable + 8)
        text = table + text_field + number("<I", table + text_field)
        header[text + 4 : text + 4 + number("<I", text)].decode()
        end = number("<q", table + end_field) if end_field else -1
        if end < 0:
            end = size

        while position < end <= size:
            file.seek(position)
            (length,) = struct.unpack("<4xI", file.read(8))
            position += 8 + length
        if position != end:
            raise ValueError("packets that do not end where the header or the file does")


def _pixels(frame: dict) -> np.ndarray:
    """uint8 [H, W] or [H, W, 3]; of 16 bits the upper 8."""
    pixels = frame["pixels"]
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return pixels[..., :3] if pixels.ndim == 3 else pixels


def read_aedat4(path: Path) -> EventFile:
    """Events, size, frames and frame times of an AEDAT4 file's first camera. RecordingError."""
    packets: list[np.ndarray] = []
    frames: list[ImageSource] = []
    frame_t: list[int] = []
    first: dict[str, int] = {}  # stream number by type
    unpacked = 0
    try:
        _check_header(path)
        decoder = aedat.Decoder(path)
        streams = decoder.id_to_stream()
        for number, stream in sorted(streams.items()):
            first.setdefault(stream["type"], number)
        if "events" not in first and "frame" not in first:
            raise RecordingError(
                f"{path}: found neither an event stream nor a frame stream in the header; expected "
                "one of them. Record again.",
                kind="empty",
            )
        for packet in decoder:
            if packet["stream_id"] == first.get("events"):
                packets.append(packet["events"])
                unpacked += packets[-1].nbytes
            elif packet["stream_id"] == first.get("frame"):
                frame = packet["frame"]
                frames.append(_pixels(frame))
                unpacked += frame["pixels"].nbytes
                # Some writers leave everything but the exposure times at 0.
                frame_t.append(frame["t"] or frame["exposure_begin_t"] or frame["begin_t"])
            check_memory(path, unpacked)
        stream = streams[first["events" if "events" in first else "frame"]]
        size = (stream["width"], stream["height"])
    except (RecordingError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as cause:  # on damaged bytes the decoder panics, which is no Exception
        raise unreadable(path, "AEDAT4 recording", cause) from cause
    times = np.array(frame_t, np.int64) if any(frame_t) else None  # 0 throughout: never written
    if "events" not in first:
        return EventFile(None, size, times, frames, time_unit="us")
    columns = {key: np.empty(0, np.uint8) for key in "xytp"}
    if packets:
        for key, name in {"x": "x", "y": "y", "t": "t", "p": "on"}.items():
            columns[key] = np.concatenate([packet[name] for packet in packets])
    return EventFile(columns, size, times, frames, time_unit="us")
