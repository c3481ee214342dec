"""One pull, or one look at oneself, from request to released values: the I/O around ``standing`` and ``profile``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.keystore.marks import ContentsMark, Mark, MarkFile, agent_mark, mark_required
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.errors import IntegrityError, Refused
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.messages_pull import MAX_PULL, SelfAnswer, decode_pull_answer, decode_self_answer
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.protocol.token import AgentToken
from stronghold_cli.reader.profile import Asked, count_secrets, open_profile, verify_contents, verify_profile
from stronghold_cli.reader.standing import Standing, anchor, verify_document, verify_standing


class SignedServer(Protocol):
    """What the reader needs of ``transport.Server``."""

    def request(self, method: str, target: str, body: bytes, key: SigningKey, key_id: KeyId, limit: int) -> bytes:
        """Sign, send, and return the body of a 2xx answer; raises ``Refused``, ``Unavailable`` or ``IntegrityError``."""


class Pulled(Record):
    """The released values of one profile, and what the caller tells the user."""

    standing: Standing
    profile: Profile
    contents_version: int
    secrets: dict[str, Secret]
    warnings: tuple[str, ...]


class Holding(Record):
    """What a profile holds: the version of its contents, and how many secrets; ``is_exact`` where deleted ones are known.

    Of a very large profile the server leaves the entries out: then the number is that of all entries ever made.
    """

    version: int
    secrets: int
    is_exact: bool


class Self(Record):
    """Who this agent is, and what it may read, from verified documents; ``holdings`` by the ids of ``profiles``."""

    standing: Standing
    groups: tuple[Group, ...]
    profiles: tuple[Profile, ...]
    holdings: Mapping[bytes, Holding]
    warnings: tuple[str, ...]


def pull(server: SignedServer, token: AgentToken, asked: Asked, clock: Callable[[], float]) -> Pulled:
    """Protocol section 5, "An agent's pull": one round trip, verified in its order; the mark is stored before anything
    is released. On ``PROFILE_FORBIDDEN`` or ``PROFILE_REQUIRED`` the hint names the profiles that the agent may read."""
    secret = TokenSecret(token.secret)
    marks = agent_mark(secret.token_id)
    mark = marks.load()
    unnamed = asked.name is None and asked.id is None
    wanted = Asked(name=None, id=mark.default_profile) if unnamed and mark is not None else asked
    target = f"/v1/pull?org={anchor(token, mark).hex()}{_profile_query(wanted)}"
    try:
        body = server.request("GET", target, b"", secret.auth, _key_id(secret), MAX_PULL)
    except Refused as refusal:
        if refusal.code in ("PROFILE_FORBIDDEN", "PROFILE_REQUIRED"):
            refusal.hint = _readable(server, token, clock)
        raise
    answer = decode_pull_answer(body)
    standing = verify_standing(answer, token, secret, mark, int(clock()))
    verified = verify_profile(answer, standing, asked, token, secret, mark)
    secrets = open_profile(verified)
    warnings = [*standing.warnings(), *_keep(marks, verified.mark())]
    if unnamed and (mark is None or mark.default_profile is None):
        warnings.append(f"no profile was named: this is {verified.profile.name!r}, the only one that can be read")
    return Pulled(
        standing=standing,
        profile=verified.profile,
        contents_version=verified.contents.version,
        secrets=secrets,
        warnings=tuple(warnings),
    )


def look_at_self(server: SignedServer, token: AgentToken, clock: Callable[[], float]) -> Self:
    """Ask who this agent is; everything returned is verified as steps 2 to 5 and 9 of a pull say."""
    secret = TokenSecret(token.secret)
    marks = agent_mark(secret.token_id)
    mark = marks.load()
    target = f"/v1/self?org={anchor(token, mark).hex()}"
    answer = decode_self_answer(server.request("GET", target, b"", secret.auth, _key_id(secret), MAX_PULL))
    standing = verify_standing(answer, token, secret, mark, int(clock()))
    groups = tuple(verify_document(Group, group, standing.structure) for group in answer.groups)
    profiles = tuple(verify_document(Profile, profile, standing.structure) for profile in answer.profiles)
    contents = _verify_all_contents(answer, standing, profiles, mark)
    own = set(standing.agent.groups)
    readable = tuple(profile for profile in profiles if own & profile.grants.keys())
    read = {id_: ContentsMark(version=each.version, sha256=each.sha256) for id_, (each, _) in contents.items()}
    found = standing.mark().replace(contents={profile.id: read[profile.id] for profile in readable})
    return Self(
        standing=standing,
        groups=tuple(group for group in groups if group.id in own),
        profiles=readable,
        holdings={profile.id: contents[profile.id][1] for profile in readable},
        warnings=(*standing.warnings(), *_keep(marks, found)),
    )


def _verify_all_contents(
    answer: SelfAnswer, standing: Standing, profiles: tuple[Profile, ...], mark: Mark | None
) -> dict[bytes, tuple[Contents, Holding]]:
    """Step 9 for each profile, whose contents stand at its place in the answer, and what they hold."""
    if len({profile.id for profile in profiles}) != len(profiles) or len(answer.contents) != len(profiles):
        raise IntegrityError("The answer does not hold each profile once, with its contents.")
    found = {}
    for profile, each in zip(profiles, answer.contents, strict=True):
        contents = verify_contents(each.contents, each.proof, standing, profile, mark)
        secrets = contents.entries.size if each.entries is None else count_secrets(each.entries, contents)
        found[profile.id] = (
            contents,
            Holding(version=contents.version, secrets=secrets, is_exact=each.entries is not None),
        )
    return found


def _keep(marks: MarkFile, mark: Mark) -> list[str]:
    """Step 12: store the mark; where it cannot be written, a warning (or an error with ``STRONGHOLD_REQUIRE_MARK=1``)."""
    if marks.save(mark, required=mark_required()):
        return []
    return [f"the newest state seen cannot be remembered in {marks.path}, so older states cannot be told apart next time"]


def _readable(server: SignedServer, token: AgentToken, clock: Callable[[], float]) -> str:
    names = sorted(profile.name for profile in look_at_self(server, token, clock).profiles)
    if not names:
        return "This agent may read no profile; an operator grants one with: stronghold group grant"
    return f"This agent may read: {', '.join(names)}"


def _profile_query(asked: Asked) -> str:
    if asked.id is not None:
        return f"&profile_id={asked.id.hex()}"
    if asked.name is None:
        return ""
    if asked.name.isascii() and asked.name.replace("-", "_").isidentifier():
        return f"&profile={asked.name}"  # nothing to escape, and nothing to import for it
    from urllib.parse import quote

    return f"&profile={quote(asked.name, safe='')}"


def _key_id(secret: TokenSecret) -> KeyId:
    return KeyId(kind="t", raw=secret.token_id)
