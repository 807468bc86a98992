"""The settings of the listener, judged before anything is made."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from appliance.config import resolve
from appliance.config_api import check_pair, read_pem_file, read_trusted_proxies
from appliance.errors import UsageError


def test_a_relative_path_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_pem_file("tls/cert.pem") == tmp_path / "tls" / "cert.pem"


@pytest.mark.parametrize("value", ["", "a\0b", 1, ["x"], None])
def test_what_is_no_path(value: object) -> None:
    with pytest.raises(ValueError, match="the path of a PEM file"):
        read_pem_file(value)


@pytest.mark.parametrize("value", ["10.0.0.0/8, 2001:db8::1", ["10.0.0.0/8", "2001:db8::1"]])
def test_proxies(value: object) -> None:
    assert read_trusted_proxies(value) == (ip_network("10.0.0.0/8"), ip_network("2001:db8::1/128"))


@pytest.mark.parametrize("value", ["", "proxy", "10.0.0.1/8", "0.0.0.0/0", "::/0", ["10.0.0.0/8", 1], 7])
def test_what_are_no_proxies(value: object) -> None:
    with pytest.raises(ValueError, match="a list of addresses and prefixes"):
        read_trusted_proxies(value)


def test_certificate_and_key_go_together() -> None:
    file = Path("/x.pem")
    assert check_pair(None, None) is None
    assert check_pair(file, file) is None
    assert "tls_key is missing" in str(check_pair(file, None))
    assert "tls_certificate is missing" in str(check_pair(None, file))
    with pytest.raises(UsageError, match="go together: tls_key is missing"):
        resolve({"tls_certificate": "/x.pem"}, None)
