"""What is wrong with TLS files is said at start, and no key is ever quoted."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from extproc.runtime.tls import TlsError, load_tls
from tests.support.certificates import Authority, key_pem


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_files_that_belong_together_are_read(tmp_path: Path) -> None:
    authority = Authority("ca")
    server = authority.issue("server")
    certificate, key = _write(tmp_path / "c.pem", server.certificate), _write(tmp_path / "k.pem", server.key)
    tls = load_tls(certificate, key, _write(tmp_path / "ca.pem", authority.certificate))
    assert (tls.certificate, tls.key, tls.client_ca) == (server.certificate, server.key, authority.certificate)
    assert load_tls(certificate, key).client_ca is None


def test_the_key_does_not_show_when_the_object_is_printed(tmp_path: Path) -> None:
    server = Authority("ca").issue("server")
    tls = load_tls(_write(tmp_path / "c.pem", server.certificate), _write(tmp_path / "k.pem", server.key))
    assert repr(tls) == "Tls(client_ca=none)"


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    authority = Authority("ca")
    one, other = authority.issue("one"), authority.issue("other")
    with pytest.raises(TlsError, match="key values mismatch"):
        load_tls(_write(tmp_path / "c.pem", one.certificate), _write(tmp_path / "k.pem", other.key))


def test_an_encrypted_key_is_an_error_and_never_a_prompt(tmp_path: Path) -> None:
    server = Authority("ca").issue("server")
    locked = key_pem(ec.generate_private_key(ec.SECP256R1()), b"a password")
    with pytest.raises(TlsError, match="with key"):
        load_tls(_write(tmp_path / "c.pem", server.certificate), _write(tmp_path / "k.pem", locked))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    server = Authority("ca").issue("server")
    certificate, key = _write(tmp_path / "c.pem", server.certificate), _write(tmp_path / "k.pem", server.key)
    with pytest.raises(TlsError, match=r"client authority .*absent\.pem: No such file"):
        load_tls(certificate, key, tmp_path / "absent.pem")
    with pytest.raises(TlsError, match=r"absent\.pem"):
        load_tls(tmp_path / "absent.pem", key)


@pytest.mark.parametrize("rubbish", [b"", b"rubbish", b"\xff\xfe"])
def test_an_authority_that_is_not_pem_is_refused(tmp_path: Path, rubbish: bytes) -> None:
    server = Authority("ca").issue("server")
    certificate, key = _write(tmp_path / "c.pem", server.certificate), _write(tmp_path / "k.pem", server.key)
    with pytest.raises(TlsError, match="client authority"):
        load_tls(certificate, key, _write(tmp_path / "ca.pem", rubbish))
