# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service's own Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily

from .state import State


class Meter:
    """The service's Prometheus metrics; business metrics are read when they are asked for."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "api_requests", "Requests answered", ["method", "endpoint", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "api_request_duration_seconds", "Time to answer", ["method", "endpoint"], registry=self.registry
        )
        self.registry.register(self)

    def observe(self, method: str, endpoint: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method, endpoint, str(status)).inc()
        self._seconds.labels(method, endpoint).observe(seconds)

    def describe(self) -> list[Any]:
        """Have no metrics asked for at registration, before there is a database."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the business metrics and the age of the last synchronisation, for the registry."""
        for name, value in self._state.business_metrics().items():
            yield GaugeMetricFamily(f"business_{name}", "Business metric " + name.replace("_", " "), value=value)
        age = self._state.sync_report()["age_seconds"]
        if age is not None:
            yield GaugeMetricFamily("sync_age_seconds", "Time since the last synchronisation that succeeded", value=age)
