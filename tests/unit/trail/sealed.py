"""A sealed trail of three short segments, for the tests of everything that reads one back."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from narrowgate.trail.checkpoints import Checkpoints
from narrowgate.trail.findings import Finding, Trouble
from narrowgate.trail.journal import Bounds, Journal
from narrowgate.trail.segments import segments_of
from narrowgate.trail.signing import Signer
from narrowgate.trail.verify import Report, verify

SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
STRANGER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
ENTRY = b'{"auditID":"%d","filler":"' + b"x" * 200 + b'"}'


class Trail:
    """A trail of one writer with three segments: lines 1-6, 7-12 and 13-17, sealed at 1, 9 and 17."""

    def __init__(self, folder: Path, bounds: Bounds | None = None) -> None:
        self.folder = folder
        self.checkpoints = Checkpoints(folder, SIGNER)
        self.journal = Journal.open(folder, "w0", SIGNER, bounds=bounds or Bounds(segment_bytes=1700))
        self.seal()
        for number in range(14):
            self.add(number)
            if number == 6:
                self.seal()
        self.seal()

    def add(self, number: int) -> None:
        self.journal.append(ENTRY % number)
        self.journal.write()

    def seal(self, *, closed: bool = False) -> None:
        self.checkpoints.add(self.journal.sync(), closed=closed)

    def file(self, segment: int) -> Path:
        return segments_of(self.folder / "w0")[segment - 1].path

    def lines(self, segment: int) -> list[bytes]:
        return self.file(segment).read_bytes().splitlines(keepends=True)

    def write(self, segment: int, lines: list[bytes]) -> None:
        self.file(segment).write_bytes(b"".join(lines))

    def verify(self) -> Report:
        return verify(self.folder, SIGNER.verifier)

    def found(self) -> list[tuple[Trouble, str, int | None, int | None]]:
        return [self.place(problem) for problem in self.verify().problems]

    @staticmethod
    def place(problem: Finding) -> tuple[Trouble, str, int | None, int | None]:
        return problem.trouble, problem.file.name, problem.line, problem.seq


def dropped_by_retention(trail: Trail) -> None:
    expired = trail.journal.expired()
    assert expired is not None
    trail.journal.append_dropped(expired)
    trail.journal.write()
    trail.seal()
    trail.journal.drop(expired)
