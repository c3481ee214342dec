"""The keys of protocol section 3, one class for each, one job for each sub-key.

Each is made from raw bytes, derives what its row of the label table says, and shows only ids in its ``repr`` (style rule
6). ``raw`` is for the kits and session files that store a key and for the boxes that carry one, and for nothing else.
Sealing keys are made on first use: HPKE and ML-KEM are imported by those commands only that seal or open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from stronghold_cli.crypto.box import BoxFamily, Context, make_box, open_box
from stronghold_cli.crypto.kdf import kcv, kdf
from stronghold_cli.crypto.secrets import Secret, decode_secret
from stronghold_cli.protocol.encoding import digest, tlv
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.keys import SigningKey

if TYPE_CHECKING:
    from stronghold_cli.crypto.seal import SealingKey

TOKEN_ID_BYTES = 16


class _SealingSeed:
    """A sealing key that is expanded when it is first asked for, and then kept."""

    __slots__ = ("_key", "_seed")

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._key: SealingKey | None = None

    def key(self) -> SealingKey:
        if self._key is None:
            from stronghold_cli.crypto.seal import SealingKey

            self._key = SealingKey(self._seed)
        return self._key


class RootKey:
    """RK, 32 bytes, only in the root kit: signs genesis, recovery, resume and root rotation; receives every group key."""

    __slots__ = ("_seal", "raw", "sign")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.sign = SigningKey(kdf(raw, "root/sign"))
        self._seal = _SealingSeed(kdf(raw, "root/seal"))

    @property
    def seal(self) -> SealingKey:
        """The key to which every group key is sealed as well, for recovery."""
        return self._seal.key()

    def __repr__(self) -> str:
        return f"RootKey(public {self.sign.public.hex()[:16]}…)"


class InviteKey:
    """I, 32 bytes, in an operator invite: signs the acceptance of that invite."""

    __slots__ = ("invite_id", "raw", "sign")

    def __init__(self, raw: bytes, invite_id: bytes) -> None:
        self.raw = raw
        self.invite_id = invite_id
        self.sign = SigningKey(kdf(raw, "invite/sign", invite_id))

    def __repr__(self) -> str:
        return f"InviteKey({self.invite_id.hex()})"


class Keyset:
    """KEYSET, 32 random bytes of an operator: ``sign`` for documents, ``request`` for requests, ``seal`` receives GKs."""

    __slots__ = ("_seal", "operator_id", "org_id", "raw", "request", "sign")

    def __init__(self, raw: bytes, org_id: bytes, operator_id: bytes) -> None:
        self.raw = raw
        self.org_id = org_id
        self.operator_id = operator_id
        self.sign = SigningKey(kdf(raw, "op/sign", org_id, operator_id))
        self.request = SigningKey(kdf(raw, "op/request", org_id, operator_id))
        self._seal = _SealingSeed(kdf(raw, "op/seal", org_id, operator_id))

    @property
    def seal(self) -> SealingKey:
        """The key that receives group keys."""
        return self._seal.key()

    def __repr__(self) -> str:
        return f"Keyset(operator {self.operator_id.hex()})"


class LoginKeys:
    """AUK, from passphrase and account key: ``login`` signs the one request that fetches the own keyset."""

    __slots__ = ("_wrap", "login", "operator_id", "org_id")

    def __init__(self, raw: bytes, org_id: bytes, operator_id: bytes) -> None:
        self.org_id = org_id
        self.operator_id = operator_id
        self.login = SigningKey(kdf(raw, "op/login", org_id, operator_id))
        self._wrap = kdf(raw, "op/wrap", org_id, operator_id)

    def wrap_keyset(self, keyset: Keyset, random: Callable[[int], bytes]) -> bytes:
        """Box the operator's own keyset, for the server to keep; another operator's raises ``IntegrityError``."""
        _require_same("keyset", (self.org_id, self.operator_id), (keyset.org_id, keyset.operator_id))
        return make_box(self._wrap, "keyset", (self.org_id, self.operator_id), keyset.raw, random)

    def open_keyset(self, blob: bytes) -> Keyset:
        """The keyset in ``blob``; a wrong passphrase, account key, salt or box raises ``IntegrityError``."""
        raw = open_box(self._wrap, "keyset", (self.org_id, self.operator_id), blob)
        return Keyset(raw, self.org_id, self.operator_id)

    def __repr__(self) -> str:
        return f"LoginKeys(operator {self.operator_id.hex()})"


class TokenSecret:
    """S, 32 bytes, only in a token: ``auth`` signs its requests, ``wrap`` is one half of what opens its master key."""

    __slots__ = ("auth", "token_id", "wrap")

    def __init__(self, raw: bytes) -> None:
        """``token_id`` is the first 16 bytes of ``SHA-256(TLV("stronghold/v1/token-id", public key))``."""
        self.auth = SigningKey(kdf(raw, "token/auth"))
        self.token_id = digest(tlv("stronghold/v1/token-id", self.auth.public))[:TOKEN_ID_BYTES]
        self.wrap = kdf(raw, "token/wrap")

    def __repr__(self) -> str:
        return f"TokenSecret({self.token_id.hex()})"


class MasterKey:
    """MK, 32 random bytes of one token: ``seal`` receives the keys of the agent's groups."""

    __slots__ = ("_seal", "token_id")

    def __init__(self, raw: bytes, token_id: bytes) -> None:
        self.token_id = token_id
        self._seal = _SealingSeed(kdf(raw, "token/seal", token_id))

    @property
    def seal(self) -> SealingKey:
        """The key that receives group keys."""
        return self._seal.key()

    def __repr__(self) -> str:
        return f"MasterKey(token {self.token_id.hex()})"


class GroupKey:
    """GK, 32 random bytes of a group's epoch: boxes the keys of the profiles that are granted to the group."""

    __slots__ = ("epoch", "group_id", "kcv", "org_id", "raw")

    def __init__(self, raw: bytes, org_id: bytes, group_id: bytes, epoch: int) -> None:
        self.raw = raw
        self.org_id = org_id
        self.group_id = group_id
        self.epoch = epoch
        self.kcv = kcv(raw, "group", org_id, group_id, epoch)

    def seal_to(self, public: bytes, member_kind: str, member_id: bytes) -> bytes:
        """Seal this key to a member: ``member_kind`` is ``token``, ``operator`` or ``root`` (id of 16 zero bytes)."""
        from stronghold_cli.crypto.seal import seal

        ctx = (self.org_id, self.group_id, self.epoch, member_kind, member_id)
        return seal(public, "group-key", ctx, self.raw)

    def wrap(self, profile_key: ProfileKey, random: Callable[[int], bytes]) -> bytes:
        """Box a profile's key for this group; a key of another org raises ``IntegrityError``."""
        _require_same("profile key", (self.org_id,), (profile_key.org_id,))
        ctx = self._wrap_ctx(profile_key.profile_id, profile_key.epoch)
        return make_box(self.raw, "profile-key", ctx, profile_key.raw, random)

    def unwrap(self, profile_id: bytes, profile_epoch: int, kcv: bytes, blob: bytes) -> ProfileKey:
        """The profile key in ``blob``, checked against the ``kcv`` of the profile's document; else ``IntegrityError``."""
        raw = open_box(self.raw, "profile-key", self._wrap_ctx(profile_id, profile_epoch), blob)
        return _committed(ProfileKey(raw, self.org_id, profile_id, profile_epoch), kcv)

    def _wrap_ctx(self, profile_id: bytes, profile_epoch: int) -> Context:
        return (self.org_id, profile_id, profile_epoch, self.group_id, self.epoch)

    def __repr__(self) -> str:
        return f"GroupKey({self.group_id.hex()}, epoch {self.epoch})"


class ProfileKey:
    """PK, 32 random bytes of a profile's epoch: boxes its secrets, and the keys of its older epochs."""

    __slots__ = ("_secrets", "epoch", "kcv", "org_id", "profile_id", "raw")

    def __init__(self, raw: bytes, org_id: bytes, profile_id: bytes, epoch: int) -> None:
        self.raw = raw
        self.org_id = org_id
        self.profile_id = profile_id
        self.epoch = epoch
        self._secrets = BoxFamily(raw, "secret", (org_id, profile_id, epoch))
        self.kcv = kcv(raw, "profile", org_id, profile_id, epoch)

    def seal_secret(self, secret_id: bytes, version: int, secret: Secret, random: Callable[[int], bytes]) -> bytes:
        """Box one version of a secret, padded; a value or note that is too large raises ``UsageError``."""
        return self._secrets.make(_secret_place(secret_id, version), secret.encode(), random)

    def open_secret(self, secret_id: bytes, version: int, blob: bytes) -> Secret:
        """The secret in ``blob`` (its name still to be judged by the reader), or ``IntegrityError``."""
        return decode_secret(self._secrets.open(_secret_place(secret_id, version), blob))

    def wrap_old(self, old: ProfileKey, random: Callable[[int], bytes]) -> bytes:
        """Box an older key of the same profile under this one, for the history; another's raises ``IntegrityError``."""
        _require_same("older profile key", (self.org_id, self.profile_id), (old.org_id, old.profile_id))
        return make_box(self.raw, "profile-key-old", self._old_ctx(old.epoch), old.raw, random)

    def unwrap_old(self, old_epoch: int, kcv: bytes, blob: bytes) -> ProfileKey:
        """The key of ``old_epoch`` in ``blob``, checked against the ``kcv`` in its old-keys leaf, or ``IntegrityError``."""
        raw = open_box(self.raw, "profile-key-old", self._old_ctx(old_epoch), blob)
        return _committed(ProfileKey(raw, self.org_id, self.profile_id, old_epoch), kcv)

    def _old_ctx(self, old_epoch: int) -> Context:
        return (self.org_id, self.profile_id, old_epoch, self.epoch)

    def __repr__(self) -> str:
        return f"ProfileKey({self.profile_id.hex()}, epoch {self.epoch})"


def open_group_key(
    sealing_key: SealingKey,
    org_id: bytes,
    group_id: bytes,
    epoch: int,
    member_kind: str,
    member_id: bytes,
    kcv: bytes,
    blob: bytes,
) -> GroupKey:
    """The group key sealed to this member, checked against the ``kcv`` of the group's document; else ``IntegrityError``."""
    raw = sealing_key.open("group-key", (org_id, group_id, epoch, member_kind, member_id), blob)
    return _committed(GroupKey(raw, org_id, group_id, epoch), kcv)


_Key = TypeVar("_Key", GroupKey, ProfileKey)


def _committed(key: _Key, expected: bytes) -> _Key:
    """Return ``key`` if the signed document commits to it (rule R4): AES-GCM alone opens to more than one key."""
    if key.kcv != expected:
        raise IntegrityError("a key is not the one that the signed document commits to", evidence={"key": repr(key)})
    return key


def _secret_place(secret_id: bytes, version: int) -> bytes:
    """TLV(secret_id, version), written out: the end of the ctx of a secret's box."""
    return b"%b%b%b%b" % (len(secret_id).to_bytes(4, "big"), secret_id, b"\0\0\0\x08", version.to_bytes(8, "big"))


def _require_same(what: str, own: tuple[bytes, ...], given: tuple[bytes, ...]) -> None:
    if own != given:
        raise IntegrityError(f"a {what} of somebody else cannot be wrapped here")
