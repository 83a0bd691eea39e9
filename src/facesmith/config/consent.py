"""By what right a face is used: the kinds of consent, and what is stated of one."""

from typing import Final, Literal, get_args

from facesmith.config.settings import ExpiryDate, Settings

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
