"""The cluster's own certificate authorities and keys, made anew for each data folder and valid for a month."""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_DAYS = 30
_CLOCK_SKEW = datetime.timedelta(minutes=5)
FRONT_PROXY_CLIENT = "front-proxy-client"


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, as files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Pki:
    """What kube-apiserver is given. The front-proxy CA signs what the aggregation layer presents to API services."""

    ca: KeyPair
    serving: KeyPair
    front_proxy_ca: KeyPair
    front_proxy_client: KeyPair
    service_account_key: Path
    service_account_public_key: Path


@dataclass(frozen=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    files: KeyPair


def create_pki(folder: Path, host_names: Sequence[str], addresses: Sequence[str]) -> Pki:
    """Writes new authorities, certificates and keys (mode 0600) into `folder`.

    Args:
        folder: made with mode 0700 when missing.
        host_names: DNS names of the serving certificate.
        addresses: IP addresses of the serving certificate.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca = _authority(folder, "ca", "devcluster")
    front_proxy_ca = _authority(folder, "front-proxy-ca", "devcluster-front-proxy")
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in host_names]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    private, public = _service_account_keys(folder)
    return Pki(
        ca=ca.files,
        serving=_issue(folder, "serving", "kube-apiserver", ca, (ExtendedKeyUsageOID.SERVER_AUTH,), names),
        front_proxy_ca=front_proxy_ca.files,
        front_proxy_client=_issue(
            folder, "front-proxy-client", FRONT_PROXY_CLIENT, front_proxy_ca, (ExtendedKeyUsageOID.CLIENT_AUTH,), []
        ),
        service_account_key=private,
        service_account_public_key=public,
    )


def create_mutual_tls(folder: Path, common_name: str, address: str) -> None:
    """Writes ca.crt, tls.crt and tls.key, as in a Secret of type kubernetes.io/tls, for both ends of a connection.

    Args:
        folder: made with mode 0700 when missing.
        common_name: of both ends.
        address: IP address of the server.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    usages = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
    names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(address))]
    _issue(folder, "tls", common_name, _authority(folder, "ca", common_name), usages, names)


def _authority(folder: Path, stem: str, common_name: str) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _builder(common_name, key)
        .issuer_name(_name(common_name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return _Authority(certificate, key, _write_pair(folder, stem, certificate, key))


def _issue(
    folder: Path,
    stem: str,
    common_name: str,
    authority: _Authority,
    usages: Sequence[x509.ObjectIdentifier],
    names: list[x509.GeneralName],
) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(common_name, key)
        .issuer_name(authority.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _write_pair(folder, stem, builder.sign(authority.key, hashes.SHA256()), key)


def _builder(common_name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _service_account_keys(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / "service-account.key", folder / "service-account.pub"
    write_private(private, _private_bytes(key))
    public_format = serialization.PublicFormat.SubjectPublicKeyInfo
    write_private(public, key.public_key().public_bytes(serialization.Encoding.PEM, public_format))
    return private, public


def _write_pair(folder: Path, stem: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    pair = KeyPair(folder / f"{stem}.crt", folder / f"{stem}.key")
    write_private(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
    write_private(pair.key, _private_bytes(key))
    return pair


def _private_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(content)
