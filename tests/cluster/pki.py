"""Keys and certificates of one cluster, made by openssl: an authority, what it signs, and kubeconfig files.

A kubeconfig carries its certificate and key inside, so it can be copied anywhere. Everything lives as long as the
cluster's folder.
"""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Final

ADMIN: Final = "/O=system:masters/CN=admin"
DAYS: Final = "30"
# Of its own, because a distribution's openssl.cnf adds extensions of its taste.
CONFIG: Final = "[req]\ndistinguished_name = name\n[name]\n"
EC_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """`folder` is made; `ca.crt`, `ca.key` and `sa.key` (which signs the tokens of service accounts) are in it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        folder.chmod(0o700)
        self.folder = folder
        self.certificate = folder / "ca.crt"
        self.key = folder / "ca.key"
        self.service_account_key = folder / "sa.key"
        self._config = folder / "openssl.cnf"
        self._config.write_text(CONFIG)
        self._request("ca", "/CN=test cluster", "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")
        self._openssl("genrsa", "-out", str(self.service_account_key), "2048")

    def issue(self, name: str, subject: str, names: str = "") -> tuple[Path, Path]:
        """Certificate and key. `subject` is /O=group/CN=user; `names` like `DNS:a.b,IP:1.2.3.4` makes it a server's."""
        usage = "extendedKeyUsage=clientAuth" + (",serverAuth" if names else "")
        extensions = ["basicConstraints=critical,CA:FALSE", usage]
        if names:
            extensions.append(f"subjectAltName={names}")
        return self._request(name, subject, *extensions, signer=("-CA", str(self.certificate), "-CAkey", str(self.key)))

    def kubeconfig(self, path: Path, server: str, subject: str) -> Path:
        """A kubeconfig at `path` for the user that `subject` names."""
        certificate, key = self.issue(path.stem, subject)
        user = {"client-certificate-data": _inline(certificate), "client-key-data": _inline(key)}
        return write_kubeconfig(path, server, _inline(self.certificate), user)

    def _request(self, name: str, subject: str, *extensions: str, signer: tuple[str, ...] = ()) -> tuple[Path, Path]:
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        added = [word for extension in extensions for word in ("-addext", extension)]
        self._openssl(
            *("req", "-x509", "-config", str(self._config), *EC_KEY, *signer, "-days", DAYS, "-subj", subject),
            *("-keyout", str(key), "-out", str(certificate), *added),
        )
        return certificate, key

    @staticmethod
    def _openssl(*arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"openssl {' '.join(arguments)}: {done.stderr}")


def write_kubeconfig(path: Path, server: str, ca_data: str, user: dict[str, str]) -> Path:
    """`user` has the fields of a kubeconfig's user: certificate and key, or a token."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": ca_data}}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
        "current-context": "test",
    }
    path.write_text(json.dumps(config))  # JSON is YAML
    path.chmod(0o600)
    return path


def _inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
