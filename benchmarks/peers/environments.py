"""A virtual environment per peer, with pinned packages, made once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
REQUIREMENTS: Final = Path(__file__).resolve().parent / "requirements"
PLATFORM: Final = "manylinux_2_39_x86_64"


class PeerError(Exception):
    """A peer cannot be installed, built or searched."""


def digest(peer: str) -> str:
    """Of what a peer's environment is made from: a change makes environment and indexes anew."""
    parts = [path.read_bytes() for path in sorted(REQUIREMENTS.glob(f"{peer}.*"))]
    parts += [torch_pin().encode(), sys.version.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def torch_pin() -> str:
    """The line of constraints.txt that names a torch without CUDA."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line for line in lines if line.startswith("torch=="))


def python_of(peer: str, cache: Path) -> Path:
    """The interpreter of a peer's environment, which is made where there is none.

    `requirements/PEER.txt` is installed as usual. `requirements/PEER.unpacked.txt` lists wheels
    that ask for a newer C library than they need: they are put in place without that check.

    Raises:
        PeerError: pip failed; the message holds its last lines.
    """
    home = cache / "environments" / peer
    python, stamp = home / "bin" / "python", home / "stamp"
    if stamp.exists() and stamp.read_text() == digest(peer):
        return python
    print(f"installing {peer} ...", flush=True)
    _run(sys.executable, "-m", "venv", "--clear", str(home))
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    listed = REQUIREMENTS / f"{peer}.txt"
    _run(*pip, "--requirement", str(listed), *_constraint(listed, home))
    unpacked = REQUIREMENTS / f"{peer}.unpacked.txt"
    if unpacked.exists():
        target = sysconfig.get_path("platlib", vars={"platbase": str(home), "base": str(home)})
        wheels = ("--no-deps", "--only-binary", ":all:", "--platform", PLATFORM)
        _run(*pip, *wheels, "--target", target, "--requirement", str(unpacked))
    stamp.write_text(digest(peer))
    return python


def _constraint(listed: Path, home: Path) -> tuple[str, ...]:
    """Weft's pin of torch, unless the peer needs another."""
    if "torch==" in listed.read_text():
        return ()
    path = home / "constraints.txt"
    path.write_text(torch_pin() + "\n")
    return ("--constraint", str(path))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-5:])
        raise PeerError(f"{' '.join(command[:5])} ... failed:\n{last}")
