"""A certificate authority for one run, and a certificate for the hosts that a WhatsApp client dials."""

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOSTS = ("web.whatsapp.com", "*.whatsapp.com", "*.whatsapp.net")
LIFETIME = datetime.timedelta(days=30)
SLACK = datetime.timedelta(days=1)


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, authority: bool
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SLACK)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def make_context(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context, and the file with the authority that clients must trust."""
    authority_key, host_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("wa-sessions emulator, this machine only")
    authority = _builder(
        "wa-sessions emulator, this machine only", authority_name, authority_key.public_key(), authority=True
    ).sign(authority_key, hashes.SHA256())
    host = (
        _builder(HOSTS[0], authority_name, host_key.public_key(), authority=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in HOSTS]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    trusted, served = folder / "authority.pem", folder / "host.pem"
    trusted.write_bytes(authority.public_bytes(pem))
    served.touch(mode=0o600)
    served.write_bytes(
        host.public_bytes(pem)
        + host_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(served)
    return context, trusted
