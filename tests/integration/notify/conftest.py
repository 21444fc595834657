# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Notifications sent for real, to services of loopback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from integration.notify import services
from integration.notify.office import Office, Project, make_project


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> services.Certificates:
    return services.certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def web(certificates: services.Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[services.Web]:
    """HTTPS services behind a proxy, which this process and its children use, and whose CA they trust."""
    with services.web(certificates) as state:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{state.proxy_port}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.ca))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        yield state


@pytest.fixture
def mail(certificates: services.Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[services.Mail]:
    """A mail server that wants STARTTLS and a login."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    with services.mail(certificates, "runbooks", "CANARYmailPassword") as state:
        yield state


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Contacts, a history store, and a clock of its own."""
    return Office(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder with a playbook that ends with the role report, with its own home and contacts."""
    return make_project(tmp_path)
