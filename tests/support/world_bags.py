"""Bags of the synthetic world, as its camera's images."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from streamingvlm_ros.bags.cdr import encode, known_types, topic_of
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import Image

BEGIN_S = 1_700_000_000
"""Stamp of the world's second 0."""
RATE_HZ = 4
SIDE_PX = 112
WORLD = World(FIRST_UNSEEN_SEED + 3)

RAW = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"


def message(image: Image, stamp_ns: int, *, kind: str = RAW, encoding: str = "rgb8") -> bytes:
    types: Any = known_types().types
    stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, S))
    header = types["std_msgs/msg/Header"](stamp, "camera_optical")
    if kind == RAW:
        height, width = image.shape[:2]
        return encode(types[RAW](header, height, width, encoding, 0, 3 * width, image.reshape(-1)))
    packed = io.BytesIO()
    PIL.Image.fromarray(image).save(packed, "PNG")
    data = np.frombuffer(packed.getvalue(), np.uint8)
    return encode(types[COMPRESSED](header, "png", data))


def film(
    folder: Path,
    seconds: Iterable[int],
    *,
    kind: str = RAW,
    topics: Iterable[str] = ("/image",),
    config: BagConfig | None = None,
    rate: int = 1,
) -> Path:
    """Write a bag of these seconds of the world, by one camera or several that see the same.

    `rate` of them were recorded in one second of the recorder's clock.
    """
    cameras = [topic_of(name, kind) for name in topics]
    with BagWriter(folder, config or BagConfig()) as bag:
        for count, second in enumerate(seconds):
            for n in range(RATE_HZ):
                stamp_ns = (BEGIN_S + second) * S + n * S // RATE_HZ
                # The recorder's clock is independent and never set back.
                recorded_ns = (BEGIN_S + 7) * S + (count * RATE_HZ + n) * S // RATE_HZ // rate
                image = WORLD.frame(second + n / RATE_HZ, SIDE_PX, SIDE_PX)
                for camera in cameras:
                    bag.write(camera, recorded_ns, data=message(image, stamp_ns, kind=kind))
    return folder
