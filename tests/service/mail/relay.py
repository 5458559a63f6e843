"""An SMTP relay for tests. Prints each step as a line of JSON; what it answers depends on the recipient.

    relay.py FOLDER none|starttls|implicit [USER PASSWORD]

Writes the certificate of its authority to FOLDER/ca.pem. Recipients whose name begins with

- refused: 550, with the address in the text;
- greylisted: 451 at the first attempt of all;
- hanging: no answer to RCPT;
- slow: the answer to DATA takes two seconds.

Ends when its standard input is closed.
"""

import asyncio
import datetime
import email
import email.policy
import json
import logging
import os
import ssl
import sys
import warnings
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def report(**step):
    print(json.dumps(step), flush=True)


def certificate(name, key, issuer=None, signer=None):
    """A certificate for `localhost`, or that of an authority if there is no issuer."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(signer or key, hashes.SHA256())


def tls_context(folder):
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = certificate("Test authority", authority_key)
    leaf = certificate("localhost", key, authority.subject, authority_key)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "leaf.pem").write_bytes(leaf.public_bytes(pem) + private)
    (folder / "ca.pem").write_bytes(authority.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    return context


class Relay:
    def __init__(self):
        self.seen = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        report(step="recipient", to=address)
        if address.startswith("refused"):
            return f"550 5.1.1 <{address}>: user unknown"
        if address.startswith("greylisted") and address not in self.seen:
            self.seen.add(address)
            return f"451 4.7.1 <{address}>: try again later"
        if address.startswith("hanging"):
            await asyncio.sleep(3600)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
        mail = {
            "to": envelope.rcpt_tos,
            "tls": server.transport.get_extra_info("ssl_object") is not None,
            "authenticated": bool(session.authenticated),
            "headers": {name.lower(): str(value) for name, value in message.items()},
            "text": parts["text/plain"],
            "html": parts["text/html"],
        }
        # A mail that has arrived is accepted even if the client dies before it gets the answer.
        await asyncio.wait({asyncio.ensure_future(self.accept(mail))})
        return "250 OK"

    async def accept(self, mail):
        report(step="in hand", to=mail["to"][0])
        if mail["to"][0].startswith("slow"):
            await asyncio.sleep(2)
        report(step="received", **mail)


def authenticator(user, password):
    def check(server, session, envelope, mechanism, data):
        is_right = isinstance(data, LoginPassword) and (data.login, data.password) == (user.encode(), password.encode())
        return AuthResult(success=is_right, handled=False)

    return check


async def main(folder, encryption, *credentials):
    context, relay = tls_context(Path(folder)), Relay()
    # As many relays: addresses have to be ASCII.
    options = {"enable_SMTPUTF8": False, "hostname": "relay"}
    if encryption == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    if credentials:
        options |= {"authenticator": authenticator(*credentials), "auth_required": True}
        options |= {"auth_require_tls": encryption == "starttls"}
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(relay, **options), "127.0.0.1", 0, ssl=context if encryption == "implicit" else None
    )
    report(step="listening", port=server.sockets[0].getsockname()[1])
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)


warnings.simplefilter("ignore")
logging.getLogger("mail.log").setLevel(logging.ERROR)
asyncio.run(main(*sys.argv[1:]))
