"""`segue keys`: makes certificates and a token, and prints the flags that use them.

The two commands that it prints can be copied as they are; what the robot needs
of the folder is said too, since the server's own key should not travel.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Sequence

from segue.cli.help import ASKING, Page
from segue.config.keys import KeysConfig
from segue.errors import ConfigError

PAGE = Page(
    verb="keys",
    summary="makes certificates and a token for a secure link",
    examples=("segue keys", "segue keys --host=gpu-box,192.168.1.5 --output_dir=keys --days=90"),
    config=KeysConfig,
)

LOCAL = ("localhost", "127.0.0.1", "::1")
_MISSING = "keys need the package cryptography: pip install 'segue[keys]'"


def main(argv: Sequence[str]) -> int:
    """Runs the verb and returns its exit code.

    Args:
        argv: the words after ``keys``.

    Raises:
        ConfigError: a flag is wrong, or keys are there already.
    """
    if ASKING.intersection(argv):
        print(PAGE.text())
        return 0
    from segue.config.load import load

    loaded = load(KeysConfig, argv)
    with loaded.blaming_flags():
        print(_make(loaded.config))
    return 0


def _make(config: KeysConfig) -> str:
    """Makes the keys and returns what to do with them."""
    try:
        from segue.tools.keys import host_names, make_keys
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "cryptography":
            raise
        raise ConfigError(_MISSING) from None
    hosts = host_names(config.host or ",".join((*LOCAL, socket.gethostname())))
    files = make_keys(config.output_dir, hosts, config.days, force=config.force)
    serve = (
        "--host=0.0.0.0",
        f"--tls.cert_file={files.server_cert}",
        f"--tls.key_file={files.server_key}",
        f"--tls.client_ca_file={files.ca}",
        f"--auth.token_file={files.token}",
    )
    run = (
        "--robot.type=sim_so101",  # it fits the policy that a server has unless told otherwise
        f"--server_address={_called(hosts)}:8080",
        f"--tls.ca_file={files.ca}",
        f"--tls.cert_file={files.client_cert}",
        f"--tls.key_file={files.client_key}",
        f"--auth.token_file={files.token}",
    )
    names = (files.ca, files.client_cert, files.client_key, files.token)
    return "\n".join(
        (
            f"segue keys: made in {files.path}, good for {config.days} days and for {', '.join(hosts)}",
            "on the server:",
            f"  segue serve {shlex.join(serve)}",
            f"on the robot, with a copy of {', '.join(path.name for path in names)}:",
            f"  segue run {shlex.join(run)}",
        )
    )


def _called(hosts: Sequence[str]) -> str:
    """Returns the name by which another machine calls the server, if there is one."""
    host = next((each for each in hosts if each not in LOCAL), hosts[0])
    return f"[{host}]" if ":" in host else host
