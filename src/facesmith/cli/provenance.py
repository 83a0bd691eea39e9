"""`facesmith provenance verify`: read the provenance of pictures and videos, and check whether it can be trusted."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from pydantic import Field

from facesmith.cli.arguments import read_arguments, take_verb, wants_help
from facesmith.config.settings import PathSetting, Settings
from facesmith.errors import UserError
from facesmith.media.verification import ProvenanceReport, State, Trust, verify_provenance
from facesmith.terminal import make_console, print_error, print_line

MARKED, CHANGED, UNMARKED, UNREADABLE = 0, 1, 2, 3
"""Exit codes; of several files the gravest holds: changed, unreadable, unmarked, marked."""

_GRAVITY: Final = (MARKED, UNMARKED, UNREADABLE, CHANGED)
_TRUST: Final[dict[Trust, str]] = {
    "trusted": "a certificate you trust",
    "own": "the key made on this computer: it shows changes, but not who signed",
    "self_made": "a self-made key of some other computer: it shows changes, but not who signed",
    "unknown": "a certificate that nothing here vouches for; name the roots you trust with trust=ROOTS.pem",
}
_SOURCE_TYPES: Final = {
    "compositeWithTrainedAlgorithmicMedia": "a real scene with synthetic parts",
    "trainedAlgorithmicMedia": "synthetic altogether",
}


_HELP: Final = """\
Check whether pictures and videos are marked as synthetic, by whom, and unchanged since. Works offline.

  facesmith provenance verify <file> ...

keys
  trust=ROOTS.pem   certificates of the authorities you trust
  json=true         as JSON, one object a line

exit code: 0 marked; 1 changed since it was signed; 2 not marked as synthetic, or the signature is gone; 3 cannot be
read
"""


class VerifyConfig(Settings):
    """Settings of `facesmith provenance verify`."""

    files: list[PathSetting] = Field(min_length=1)
    """Pictures and videos."""
    trust: PathSetting | None = None
    """A PEM file of the root certificates you trust."""
    as_json: bool = Field(default=False, alias="json")
    """Print one JSON object a file."""


def main(given: Sequence[str]) -> int:
    """Verify the named files.

    Returns:
        The gravest of the files' exit codes.
    """
    if wants_help(given):
        print(_HELP, end="")
        return 0
    _, rest = take_verb(given, ["verify"], "provenance")
    config = read_arguments(rest, VerifyConfig, words="files")
    try:
        anchors = _anchors(config.trust)
    except UserError as error:
        print_error(f"error: {error}")
        return UNREADABLE
    codes = [_verify(file, anchors, as_json=config.as_json) for file in config.files]
    return max(codes, key=_GRAVITY.index)


def exit_code(finding: ProvenanceReport) -> int:
    """Return the exit code of one file."""
    if finding.state == "changed":
        return CHANGED
    whole = finding.state == "signed" or (finding.state == "metadata" and not finding.signable)
    return MARKED if whole and finding.synthetic else UNMARKED


def explain(finding: ProvenanceReport) -> list[str]:
    """Return a verdict and the facts behind it, a line each."""
    claims = "claims" if finding.state == "changed" else "states"
    lines = [f"{finding.path}: {_verdict(finding)}"]
    facts: list[tuple[str, str]] = []
    if finding.source_type:
        facts.append((claims, _SOURCE_TYPES.get(finding.source_type, finding.source_type)))
    if finding.mark:
        facts.append(("title", finding.mark.title))
        facts.append(("identity", f"{finding.mark.identity}, consent: {finding.mark.consent}"))
        facts.append(("model", f"sha256 {finding.mark.model_hash}" if finding.mark.model_hash else "in training"))
        if finding.mark.adapter:
            facts.append(("adapter", finding.mark.adapter))
    if finding.generator:
        facts.append(("written by", finding.generator))
    if finding.signer or finding.issuer:
        who = f"{finding.signer or 'somebody'} ({finding.issuer})" if finding.issuer else str(finding.signer)
        facts.append(("signed by", f"{who}: {_TRUST[finding.trust]}"))
    facts += [("finding", problem) for problem in finding.problems]
    return lines + [f"  {name + ':':<12}{value}" for name, value in facts]


def _verdict(finding: ProvenanceReport) -> str:
    synthetic = "marked as synthetic" if finding.synthetic else "not marked as synthetic"
    verdicts: dict[State, str] = {
        "signed": f"{synthetic}, signed, and unchanged since",
        "changed": "CHANGED since it was signed: do not trust what it states",
        "unmarked": "not marked: nothing states that it is synthetic, which is no proof that it is not",
        "metadata": f"{synthetic} in its metadata only, which anybody can write or remove; "
        + (
            "the signature is gone, as after a remux or another save"
            if finding.signable
            else "this kind of file holds no signature"
        ),
    }
    return verdicts[finding.state]


def _verify(file: Path, anchors: str, *, as_json: bool) -> int:
    try:
        finding = verify_provenance(file, anchors)
    except UserError as error:
        print_error(f"error: {error}")
        return UNREADABLE
    code = exit_code(finding)
    if as_json:
        print(json.dumps({**asdict(finding), "path": str(file), "synthetic": finding.synthetic, "exit_code": code}))
    else:
        print_line("\n".join(explain(finding)), make_console())
    return code


def _anchors(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        text = ""
    if "BEGIN CERTIFICATE" not in text:
        raise UserError(f"trust={path}: holds no PEM certificate; give a file of root certificates")
    return text


if __name__ == "__main__":
    from facesmith.cli import main as command_line

    sys.exit(command_line.main(["provenance", *sys.argv[1:]]))
