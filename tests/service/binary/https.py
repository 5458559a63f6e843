"""A TLS receiver: creates a CA and a certificate for 127.0.0.1 in FOLDER, listens on PORT and records each request."""

import datetime, http.server, ipaddress, ssl, sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

folder, port = sys.argv[1], int(sys.argv[2])
now = datetime.datetime.now(datetime.timezone.utc)
pem = serialization.Encoding.PEM


def certificate(name, key, issuer, signer, *extensions):
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer, hashes.SHA256())


def named(name):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
ca = certificate(named("ca"), authority, named("ca"), authority, x509.BasicConstraints(ca=True, path_length=None))
names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
leaf = certificate(named("receiver"), key, named("ca"), authority, names)
with open(f"{folder}/leaf.pem", "wb") as file:
    file.write(leaf.public_bytes(pem))
    file.write(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
with open(f"{folder}/ca.pem", "wb") as file:
    file.write(ca.public_bytes(pem))


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        with open(f"{folder}/received", "a") as file:
            file.write(self.headers["webhook-id"] + "\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass  # clients that do not trust the certificate hang up


server = Server(("127.0.0.1", port), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{folder}/leaf.pem")
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
