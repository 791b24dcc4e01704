# SPDX-License-Identifier: Apache-2.0
"""A certificate authority of our own, by the command openssl."""

import subprocess
from pathlib import Path

_CONFIG = """\
[ca]
default_ca = own
[own]
database = {directory}/index.txt
new_certs_dir = {directory}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""


class Authority:
    """Signs certificates, all for one key: what matters here is who signed them, for whom, and until when."""

    def __init__(self, directory: Path, name: str = "authority"):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.ca_file = directory / "ca.pem"
        self._config = directory / "ca.cnf"
        self._config.write_text(_CONFIG.format(directory=directory), encoding="ascii")
        (directory / "index.txt").touch()
        self._made = 0
        new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self._run(*new, "-x509", "-days", "9", "-subj", f"/CN={name}", "-keyout", "ca.key", "-out", "ca.pem")
        self._run(*new, "-subj", "/CN=bmc", "-keyout", "bmc.key", "-out", "bmc.csr")

    def certificate(self, host: str = "127.0.0.1", *, expired: bool = False) -> tuple[Path, Path]:
        """(certificate, key) for a host name or an address."""
        self._made += 1
        path = self.directory / f"bmc{self._made}.pem"
        extensions = self.directory / f"bmc{self._made}.ext"
        kind = "IP" if host.replace(".", "").isdigit() else "DNS"
        extensions.write_text(f"subjectAltName={kind}:{host}\n", encoding="ascii")
        dates = (
            ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"] if expired else ["-days", "2"]
        )
        files = ["-in", "bmc.csr", "-out", path.name, "-cert", "ca.pem", "-keyfile", "ca.key"]
        own = ["-config", "ca.cnf", "-extfile", extensions.name, "-subj", f"/CN={host}"]
        self._run("ca", "-batch", "-notext", *own, *files, *dates)
        return path, self.directory / "bmc.key"

    def _run(self, *arguments: str):
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)
