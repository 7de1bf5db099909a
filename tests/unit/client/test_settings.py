from pathlib import Path
from typing import Any

import pytest
from understudy_client import AsyncHybridClient, HybridClient, InvalidSettings
from understudy_client.settings import connection


@pytest.mark.parametrize(
    ("url", "protocol", "address", "path"),
    [
        (None, "grpc", "127.0.0.1:8001", ""),
        (None, "http", "127.0.0.1:8000", ""),
        ("triton", "grpc", "triton:8001", ""),
        ("triton.example:9", "http", "triton.example:9", ""),
        ("[::1]:7", "grpc", "[::1]:7", ""),
        ("triton:9/base/", "http", "triton:9", "/base"),
    ],
)
def test_an_address_has_a_host_and_a_port(url: str | None, protocol: str, address: str, path: str) -> None:
    checked = connection(url, protocol)
    assert (checked.address, checked.path) == (address, path)


@pytest.mark.parametrize("url", ["http://x:1", "", "a b", "x:99999", "x:0", "x:y", 8001, "grpc://x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidSettings, match="url="):
        connection(url, "grpc")


def test_grpc_has_no_path() -> None:
    with pytest.raises(InvalidSettings, match="gRPC has no path"):
        connection("x:1/base", "grpc")


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("localhost", True), ("[::1]", True), ("10.0.0.1", False)]
)
def test_loopback_is_known(host: str, loopback: bool) -> None:
    assert connection(f"{host}:1", "grpc").is_loopback is loopback


def test_a_place_is_readable() -> None:
    assert connection("x:1", "grpc").place("listing the models") == "listing the models at x:1 (grpc)"
    assert connection("x:1/b", "http", ssl=True).place("loading 'm'") == "loading 'm' at x:1/b (http over TLS)"


def test_header_names_are_lower_case_and_checked() -> None:
    assert connection(None, "grpc", headers={"Authorization": "Bearer x"}).headers == {"authorization": "Bearer x"}
    for headers in ({"a b": "x"}, {"a": "x\r\ny"}, {"": "x"}):
        with pytest.raises(InvalidSettings, match="headers="):
            connection(None, "grpc", headers=headers)


def test_a_header_that_cannot_be_used_is_named_and_its_value_kept_secret() -> None:
    for headers in ({"authorization": "Bearer SECRET\n"}, {"authoriz ation": "Bearer SECRET"}):
        with pytest.raises(InvalidSettings, match=r"headers=\{'authoriz.*expected") as caught:
            connection(None, "grpc", headers=headers)
        assert "SECRET" not in f"{caught.value} {caught.value.args}"


def test_certificates_are_files_and_need_ssl(tmp_path: Path) -> None:
    file = tmp_path / "file.pem"
    file.write_text("")
    with pytest.raises(InvalidSettings, match="ssl=True beside it"):
        connection(None, "grpc", root_certificates=file)
    with pytest.raises(InvalidSettings, match="a PEM file that exists"):
        connection(None, "grpc", ssl=True, root_certificates=tmp_path / "none.pem")
    with pytest.raises(InvalidSettings, match="together"):
        connection(None, "grpc", ssl=True, private_key=file)
    assert connection(None, "grpc", ssl=True, root_certificates=file).root_certificates == file


def test_a_certificate_that_is_none_is_refused_when_the_client_is_made(tmp_path: Path) -> None:
    file = tmp_path / "file.pem"
    file.write_text("nothing")
    with pytest.raises(InvalidSettings, match=r"root_certificates=.*expected PEM"):
        HybridClient(protocol="http", ssl=True, root_certificates=file)


@pytest.mark.parametrize("client", [HybridClient, AsyncHybridClient])
@pytest.mark.parametrize(
    "settings",
    [
        {"protocol": "rest"},
        {"timeout_s": 0},
        {"timeout_s": float("inf")},
        {"timeout_s": "1"},
        {"load_timeout_s": -1},
        {"retries": -1},
        {"retries": 1.5},
        {"attempt_timeout_s": 0},
        {"concurrency": 0},
        {"concurrency": True},
    ],
)
def test_a_setting_that_cannot_be_used_is_named(client: type, settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(InvalidSettings, match=f"{name}="):
        client(**settings)
