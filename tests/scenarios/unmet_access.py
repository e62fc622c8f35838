"""Ways in which the checks of whom Passgate speaks with are not met."""

from __future__ import annotations

from tests.scenarios.paper import estate
from tests.scenarios.unmet import Unmet

UNMET = (
    Unmet("ACC-01", "a host that stands alone, and vMotion is wanted", "without a vCenter",
          estate(site={"standalone": True}), {"vmotion": True}),
)  # fmt: skip
