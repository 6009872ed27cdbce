"""Wrong values of a setting, for the tests of every interface that accepts it."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from streamingvlm_ros.setting import Setting


def out_of_range(setting: Setting) -> st.SearchStrategy[Any]:
    """Return values of the right type that are not allowed, if there are any."""
    low, high = setting.low, setting.high
    if setting.choices:
        return st.text("abcdefgh", min_size=1).filter(lambda text: text not in setting.choices)
    if low is None or high is None:
        return st.nothing()
    if setting.kind is int:
        return st.integers(max_value=int(low) - 1) | st.integers(min_value=int(high) + 1)
    finite = {"allow_nan": False, "allow_infinity": False}
    below = st.floats(max_value=math.nextafter(low, -math.inf), **finite)
    return below | st.floats(min_value=math.nextafter(high, math.inf), **finite)


def of_wrong_type(setting: Setting) -> st.SearchStrategy[Any]:
    """Return values of another type, NaN and infinity."""
    fractions = st.floats(allow_nan=False).filter(lambda x: not x.is_integer())
    return {
        bool: st.integers(0, 1) | st.just("yes"),
        int: st.booleans() | fractions | st.just("many"),
        float: st.booleans() | st.sampled_from((math.nan, math.inf, -math.inf)) | st.just("many"),
        str: st.booleans() | st.integers(),
        tuple: st.text("abc") | st.integers(),
    }[setting.kind]


def wrong_values(setting: Setting) -> st.SearchStrategy[Any]:
    """Return values that every interface must reject."""
    return out_of_range(setting) | of_wrong_type(setting)
