"""By what right a face is used: the kinds of consent, and what is stated of one."""

from datetime import date
from typing import Final, Literal, get_args

from facesmith.config.settings import ExpiryDate, Settings
from facesmith.errors import UserError

ConsentKind = Literal["self", "written", "licensed", "public_domain", "synthetic"]
CONSENT_KINDS: Final[tuple[ConsentKind, ...]] = get_args(ConsentKind)
"""The strictest first: what is made of several faces carries the first of their kinds in this order."""


class ConsentConfig(Settings):
    """A person's consent; it is stored in everything made from the face."""

    consent: ConsentKind
    """What kind of consent the person gave."""
    consent_note: str | None
    """Who agreed to what and when, in free text; null where nothing is to be remembered."""
    expires: ExpiryDate | None
    """ISO date (2027-12-31) after which the consent no longer holds; null for no end."""


def require_current(expires: object, origin: object, identity: object) -> None:
    """Make sure that a consent still holds, wherever something made from a face is used.

    Args:
        expires: ISO date of its last day; None or "" for no end.
        origin: Names the file in the message.
        identity: Whose consent it is.

    Raises:
        UserError: it has ended, or its end is no date.
    """
    if not expires:
        return
    try:
        end = date.fromisoformat(str(expires))
    except ValueError:
        raise UserError(f"{origin}: the end of the consent is no date: {str(expires)[:20]!r}; make it again") from None
    if end < date.today():
        raise UserError(
            f"{origin}: the consent of {identity} ended on {end}; renew it and make this again with a later expires, "
            f"or remove everything with facesmith purge name={identity}"
        )
