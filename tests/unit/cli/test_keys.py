"""`segue keys`: what it prints is what can be typed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from segue.cli.main import main
from segue.cli.plans import link_security, server_security
from segue.config import load_run, load_serve


def printed(text: str, verb: str) -> list[str]:
    """Returns the words after ``segue VERB`` in the output of `segue keys`."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"  segue {verb} "))
    return shlex.split(line)[2:]


def test_the_printed_flags_are_taken_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both commands load, and name files that are there and go together, also in a folder with a space."""
    folder = tmp_path / "my keys"
    assert main(["keys", f"--output_dir={folder}", "--host=gpu-box,::1"]) == 0
    out = capsys.readouterr().out
    serve = load_serve(printed(out, "serve")).config
    run = load_run(printed(out, "run")).config
    security = server_security(serve)
    assert (security.encrypted, security.guarded, security.warnings) == (True, True, ())
    assert security.client_ca is not None
    assert security.tokens[0].text == link_security(run).token
    assert run.link.server_address == "gpu-box:8080"
    assert security.tokens[0].text not in out


def test_without_a_host_the_keys_are_for_this_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loopback and this machine's name are in the certificate, and the name is the one to call it by."""
    monkeypatch.setattr("socket.gethostname", lambda: "gpu-box")
    assert main(["keys", f"--output_dir={tmp_path / 'keys'}"]) == 0
    out = capsys.readouterr().out
    assert "good for 365 days and for localhost, 127.0.0.1, ::1, gpu-box\n" in out
    assert "--server_address=gpu-box:8080" in out


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--host=a b"], "--host: 'a b' is no host; allowed are"),
        (["--days=0"], "--days=0: expected a whole number from 1 to 3650"),
        (["--output_dir={made}"], "exists; allowed is another folder, or --force"),
    ],
)
def test_a_wrong_flag_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], says: str
) -> None:
    """A host that is none, a number out of range and keys that are there end with 64 and a sentence."""
    made = tmp_path / "made"
    assert main(["keys", f"--output_dir={made}"]) == 0
    assert main(["keys", *(flag.format(made=made) for flag in flags)]) == 64
    assert says in capsys.readouterr().err
    assert main(["keys", f"--output_dir={made}", "--force"]) == 0


def test_without_its_package_it_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where cryptography is missing the command ends with one sentence and makes nothing."""
    for name in [each for each in sys.modules if each.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.delitem(sys.modules, "segue.tools.keys", raising=False)
    assert main(["keys", f"--output_dir={tmp_path / 'keys'}"]) == 78
    said = capsys.readouterr().err
    assert said == "segue: keys need the package cryptography: pip install 'segue[keys]'\n"
    assert not (tmp_path / "keys").exists()
