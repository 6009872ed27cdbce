"""Settings of all tests."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# The duration of an example depends on the machine, not on the code.
settings.register_profile("any", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any")

# A background job inherits an ignored SIGINT, a job of nohup an ignored SIGHUP, and so would every
# process that a test sends a signal to.
DEFAULTS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGTERM: signal.SIG_DFL,
}
for number, handler in DEFAULTS.items():
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)
