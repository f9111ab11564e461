"""Which fields are secret, and a value without them.

A field is secret if its name, less case and punctuation, contains one of a few words (`newPassword`, `access_token`,
`API-Key`), if one of its parts is a shorter word that means something else inside others (`user_pwd`, `otpCode`, but
not `spinner`), or if the application names it. Erring on the safe side is meant: `tokenizer` is withheld too. Values
are looked through after the value table has been applied, so that a key is judged by the text that it becomes.

A name may also stand beside its value: `{"name": "password", "value": ...}`, `["Authorization", ...]`.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from auditpipe.schemas.named import GONE, NamedFields, folded, squashed

#: A field's name that contains one of these is secret.
SECRET_WORDS = (
    *("password", "passwort", "passwd", "passphrase", "passcode", "secret", "token", "credential", "bearer", "jwt"),
    *("apikey", "privatekey", "accesskey", "signingkey", "encryptionkey", "recoverycode"),
)
#: So is one with such a part; parts end at `_`, `-`, `.`, blanks, and where a capital begins a word.
SECRET_PARTS = frozenset(("pwd", "pin", "otp", "totp", "cvv", "cvc"))
#: So is one that ends with such a part (`old_pass`, `Set-Cookie`); elsewhere they are of others (`cookie_consent`).
SECRET_ENDINGS = frozenset(("pass", "authorization", "cookie", "cookies", "setcookie"))

_BETWEEN_PARTS = re.compile(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

Withheld = dict[str, list[Any]]


@lru_cache(maxsize=4096)
def has_secret_word(name: str) -> bool:
    """Whether a field of this name is secret, whoever the application is."""
    short = squashed(name)
    if any(word in short for word in SECRET_WORDS) or short in SECRET_PARTS or short in SECRET_ENDINGS:
        return True
    parts = [part.lower() for part in _BETWEEN_PARTS.split(folded(name)) if part]
    return bool(parts) and (parts[-1] in SECRET_ENDINGS or not SECRET_PARTS.isdisjoint(parts))


class Secrets(NamedFields):
    """The secret fields of one application: the usual ones, and `names`, further field names or dotted paths."""

    _by_word = staticmethod(has_secret_word)

    def __init__(self, names: Iterable[str] = ()) -> None:
        super().__init__(names, "redact")

    def is_secret(self, path: str) -> bool:
        """Whether the value at this dotted path is withheld; a secret object's inside is secret too."""
        return self.is_named(path)

    def split(self, value: Any, path: str = "", *, pairs: bool = False) -> tuple[Any, Withheld]:
        """(the value without its secrets, path of each secret -> its values in order), of a value of the table.

        `pairs`: see `NamedFields.replaced`.
        """
        withheld: Withheld = {}

        def take(found: str, secret: Any) -> Any:
            withheld.setdefault(found, []).append(secret)
            return GONE

        return self.replaced(value, take, path, pairs=pairs), withheld
