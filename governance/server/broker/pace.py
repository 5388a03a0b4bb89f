"""How often one caller may ask: so many requests at once, then so many a second."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from governance.errors import LogError

_CALLERS = 10_000


class Pace:
    """A token bucket for each caller (ITU-T I.371's leaky bucket as a meter). Safe to share between threads.

    Args:
        burst: requests that may come at once.
        rate: requests a second that refill it.
    """

    def __init__(
        self, burst: int = 200, rate: float = 50.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._rate = rate
        self._monotonic = monotonic
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._taking = threading.Lock()

    def take(self, caller: str) -> None:
        """Count one request.

        Raises:
            LogError: GOV-510 when the caller asks too often.
        """
        with self._taking:
            now = self._monotonic()
            left, since = self._left.pop(caller, (float(self._burst), now))
            left = min(float(self._burst), left + (now - since) * self._rate)
            self._left[caller] = (left - 1 if left >= 1 else left, now)
            if len(self._left) > _CALLERS:
                self._left.popitem(last=False)
        if left < 1:
            raise LogError(
                "GOV-510", "one workload asks the key broker too often", "ask again after the Retry-After"
            )
