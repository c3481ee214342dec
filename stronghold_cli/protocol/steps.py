"""The invariants of a step: which state may follow which by one commit, and what its author may change.

Protocol section 5, "Invariants: Step", "Currency" and the table of accepted signers. The server checks each commit with
``check_step``; a client checks its own before it is sent. A broken rule raises ``RuleError``.
"""

from __future__ import annotations

from collections.abc import Iterator

from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.base import ZERO_HASH
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.leaves import (
    EntryLeaf,
    decode_entry_leaf,
    decode_member_leaf,
    leaf_link,
)
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.envelope import ROOT, Envelope
from stronghold_cli.protocol.errors import RuleError
from stronghold_cli.protocol.signers import verify_head_signer
from stronghold_cli.protocol.state import Changes, OrgState, changed_documents

RESUME_JUMP = 1 << 20


def check_genesis(state: OrgState, changes: Changes, author: bytes) -> None:
    """The first commit of an org: numbers are 1, links are zeros, and the author is its one operator, an admin."""
    if list(state.org.document.operators) != [author]:
        raise RuleError("a genesis does not name its author as the one operator")
    numbers = (state.seq, state.structure.document.seq)
    links = (state.head.document.prev, state.structure.document.prev)
    if set(numbers) != {1} or set(links) != {ZERO_HASH} or len(changes.org) != 1:
        raise RuleError("a genesis does not begin at 1")
    if state.agents or state.groups or state.profiles or state.invites or state.structure.document.lockdowns:
        raise RuleError("a genesis holds more than the org and its first operator")
    for envelope in (state.head.envelope, state.structure.envelope):
        _require_author(envelope, author)


def check_step(before: OrgState, after: OrgState, changes: Changes, author: bytes) -> None:
    """Check that ``after`` may follow ``before`` by one commit of ``changes``, signed by the operator ``author``.

    ``after`` is what ``state.advance`` made of them, with ``rules.check_state`` passed. Ids that once existed and are gone
    are the store's to know: ``new_ids`` names those to look up.
    """
    _check_numbers(before, after, changes)
    _check_author(before, after, changes, author)
    _check_documents(before, after, author)


def _check_documents(before: OrgState, after: OrgState, author: bytes) -> None:
    changed = changed_documents(before, after)
    # A document proves its maps: where none changed, no map of one did.
    if any(changed.values()):
        for kind in ("agent", "group", "profile"):
            _check_versions(before, after, kind, changed[kind])
        _check_tokens(before, after, author, changed["agent"])
        _check_group_epochs(before, after)
        _check_profile_epochs(before, after)
    _check_lockdowns(before, after)
    for profile_id in after.profiles:
        _check_contents(before, after, profile_id, author)


def check_past_step(before: OrgState, after: OrgState) -> None:
    """Check a commit of the past, by which ``after`` followed ``before``, as operators do at each sync.

    Its author is who signed its head, with the key and the right that the org document of that commit gives them. Envelopes
    of structure and contents may have been signed anew since (section 5, "Currency"), and so tell nothing about the author.
    """
    verify_head_signer(after.head.envelope, after.org.document)
    author = after.head.envelope.operator_id or b""
    _check_structure_and_invites(before, after)
    if after.org.document.role_of(author) != "admin":
        _check_contents_alone(before, after, author)
    _check_documents(before, after, author)


def new_ids(before: OrgState | None, after: OrgState) -> Iterator[tuple[str, bytes]]:
    """Kind and id of everything that ``after`` has and ``before`` has not: none of them may ever have existed."""
    for kind in ("agent", "group", "profile", "invite"):
        known = {} if before is None else before.documents(kind)
        for id_ in after.documents(kind):
            if id_ not in known:
                yield kind, id_
    known_tokens = set() if before is None else _token_ids(before)
    for token_id in _token_ids(after) - known_tokens:
        yield "token", token_id
    known_operators = set() if before is None else set(before.org.document.operators)
    for operator_id in set(after.org.document.operators) - known_operators:
        yield "operator", operator_id


def _token_ids(state: OrgState) -> set[bytes]:
    return {token_id for agent in state.agents.values() for token_id in agent.tokens}


def _check_numbers(before: OrgState, after: OrgState, changes: Changes) -> None:
    if len(changes.heads) != 1 or len(changes.org) > 1:
        raise RuleError("a commit holds more than one head or org document")
    if after.head.document.sha256 == before.head.document.sha256:
        raise RuleError("a commit holds no new head")
    _check_structure_and_invites(before, after)


def _check_structure_and_invites(before: OrgState, after: OrgState) -> None:
    structure, known = after.structure.document, before.structure.document
    if structure.sha256 != known.sha256 and (structure.seq != after.seq or structure.prev != known.sha256):
        raise RuleError("the structure does not follow the one before")
    for invite_id, invite in after.invites.items():
        if invite_id in before.invites and before.invites[invite_id].sha256 != invite.sha256:
            raise RuleError("an invite changes", evidence={"invite": invite_id.hex()})


def _check_author(before: OrgState, after: OrgState, changes: Changes, author: bytes) -> None:
    """New signatures are the author's; an editor changes contents of the own profiles and nothing else."""
    signed = [changes.heads[-1], *changes.contents, *([changes.structure] if changes.structure else [])]
    for envelope in signed:
        _require_author(envelope, author)
    if any(envelope.keyid != ROOT for envelope in changes.org):
        _require_author(changes.org[-1], author)
    role = after.org.document.role_of(author)
    if role == "admin":
        return
    touched = [map_id for map_id in changes.maps if map_id[0] not in ("contents", "entries")]
    if role != "editor" or changes.org or changes.structure is not None or changes.payloads or touched:
        raise RuleError("an author who is no admin changes more than contents", evidence={"author": author.hex()})
    for profile_id, contents in after.contents.items():
        if contents.envelope != before.contents[profile_id].envelope and author not in after.profiles[profile_id].editors:
            raise RuleError("an editor writes a profile that does not list them", evidence={"profile": profile_id.hex()})


def _check_contents_alone(before: OrgState, after: OrgState, author: bytes) -> None:
    """An author who is no admin changed nothing but contents of profiles that list them."""
    evidence = {"author": author.hex()}
    unchanged = (
        after.org.document.sha256 == before.org.document.sha256
        and after.structure.document.sha256 == before.structure.document.sha256
    )
    if not unchanged:
        raise RuleError("an author who is no admin changes more than contents", evidence=evidence)
    for profile_id, contents in after.contents.items():
        is_same = contents.document.sha256 == before.contents[profile_id].document.sha256
        if not is_same and author not in after.profiles[profile_id].editors:
            raise RuleError("an editor writes a profile that does not list them", evidence=evidence)


def _require_author(envelope: Envelope, author: bytes) -> None:
    if envelope.operator_id != author:
        raise RuleError("a new signature is not that of the commit's author", evidence={"keyid": envelope.keyid})


def _check_versions(before: OrgState, after: OrgState, kind: str, changed: set[bytes]) -> None:
    known, documents = before.documents(kind), after.documents(kind)
    for id_ in changed & documents.keys():
        expected = 1 if id_ not in known else getattr(known[id_], "version", 0) + 1
        if getattr(documents[id_], "version", None) != expected:
            raise RuleError("a version does not rise by one", evidence={"kind": kind, "id": id_.hex()})


def _check_tokens(before: OrgState, after: OrgState, author: bytes, changed: set[bytes]) -> None:
    """A token keeps its agent, keys and maker; a new one is made by ``author``, who signs the structure that adds it.

    One that another agent has, and keeps, would stand in the org twice, which no state may hold.
    """
    known = changed & before.agents.keys()
    owners = {token_id: agent_id for agent_id in known for token_id in before.agents[agent_id].tokens}
    for agent_id in changed & after.agents.keys():
        agent, previous_agent = after.agents[agent_id], before.agents.get(agent_id)
        for token_id, token in agent.tokens.items():
            evidence = {"token": token_id.hex()}
            if owners.get(token_id, agent.id) != agent.id:
                raise RuleError("a token moves to another agent", evidence=evidence)
            previous = None if previous_agent is None else previous_agent.tokens.get(token_id)
            if previous is None and token.created_by != author:
                raise RuleError("a new token does not name its maker", evidence=evidence)
            if previous is not None and token != token.replace(
                auth_public_key=previous.auth_public_key,
                seal_sha256=previous.seal_sha256,
                last4=previous.last4,
                created=previous.created,
                created_by=previous.created_by,
            ):
                raise RuleError("what never changes in a token changes", evidence=evidence)


def _check_lockdowns(before: OrgState, after: OrgState) -> None:
    """A lockdown comes and goes, and never changes; a new one names agents and groups that exist, so that it stops them."""
    known = {lockdown.id: lockdown for lockdown in before.structure.document.lockdowns}
    for lockdown in after.structure.document.lockdowns:
        evidence = {"lockdown": lockdown.id.hex()}
        if lockdown.id in known:
            if lockdown != known[lockdown.id]:
                raise RuleError("a lockdown changes", evidence=evidence)
        elif not (after.agents.keys() >= set(lockdown.agents) and after.groups.keys() >= set(lockdown.groups)):
            raise RuleError("a new lockdown names an agent or group that does not exist", evidence=evidence)


def _check_group_epochs(before: OrgState, after: OrgState) -> None:
    for group in after.groups.values():
        previous = before.groups.get(group.id)
        if previous is None:
            if group.epoch != 1:
                raise RuleError("a new group does not begin at epoch 1", evidence={"group": group.id.hex()})
        elif before.maps.get(("members", group.id)) is not after.maps.get(("members", group.id)) or previous is not group:
            _check_group_step(before, after, previous, group)


def _check_group_step(before: OrgState, after: OrgState, previous: Group, group: Group) -> None:
    evidence = {"group": group.id.hex()}
    old, new = before.leaves("members", group.id), after.leaves("members", group.id)
    if group.epoch == previous.epoch:
        if group.kcv != previous.kcv:
            raise RuleError("a group's key changes without a new epoch", evidence=evidence)
        for member_id, value in old.items():
            if new.get(member_id) != value and _demands_new_epoch(after, group, member_id, value, new.get(member_id)):
                raise RuleError("a member goes without a new epoch of the group", evidence=evidence)
        return
    if group.epoch != previous.epoch + 1 or group.kcv == previous.kcv:
        raise RuleError("a group's epoch does not rise by one with a new key", evidence=evidence)
    old_seals = {decode_member_leaf(value).sealed_sha256 for value in old.values()}
    if any(decode_member_leaf(value).sealed_sha256 in old_seals for value in new.values()):
        raise RuleError("a group's new epoch keeps an old seal", evidence=evidence)
    for member_id, leaf in after.group_members(group.id).items():
        not_after = after.agents[leaf.owner].tokens[member_id].not_after if leaf.kind == "token" else None
        if not_after is not None and not_after <= after.head.document.created:
            raise RuleError("a group's new epoch is sealed to an expired token", evidence=evidence)


def _demands_new_epoch(after: OrgState, group: Group, member_id: bytes, old: bytes, new: bytes | None) -> bool:
    """Whether this change of a member leaf is more than a revoked or expired token, or a fresh seal to the same key."""
    leaf = decode_member_leaf(old)
    if new is not None:
        return decode_member_leaf(new).replace(sealed_sha256=b"") != leaf.replace(sealed_sha256=b"")
    owner: Agent | None = after.agents.get(leaf.owner) if leaf.kind == "token" else None
    return owner is None or group.id not in owner.groups or member_id in owner.tokens


def _check_profile_epochs(before: OrgState, after: OrgState) -> None:
    raised = {
        group_id
        for group_id, group in before.groups.items()
        if group_id not in after.groups or after.groups[group_id].epoch != group.epoch
    }
    for profile in after.profiles.values():
        previous = before.profiles.get(profile.id)
        if previous is None:
            if profile.epoch != 1:
                raise RuleError("a new profile does not begin at epoch 1", evidence={"profile": profile.id.hex()})
            continue
        gone = previous.grants.keys() - profile.grants.keys()
        if (gone or raised & previous.grants.keys()) and profile.epoch == previous.epoch:
            raise RuleError("a reader goes without a new epoch of the profile", evidence={"profile": profile.id.hex()})
        if profile is not previous:
            _check_profile_step(before, after, previous, profile)


def _check_profile_step(before: OrgState, after: OrgState, previous: Profile, profile: Profile) -> None:
    """A new epoch renews all grants, all live entries and the old keys; without one, keys stay as they are."""
    evidence = {"profile": profile.id.hex()}
    old_keys, new_keys = before.old_keys(profile.id), after.old_keys(profile.id)
    for epoch, leaf in new_keys.items():
        known = previous.kcv if epoch == previous.epoch else old_keys[epoch].kcv if epoch in old_keys else None
        if leaf.kcv != known:
            raise RuleError("an old key is not one that the profile had", evidence=evidence)
    if profile.epoch == previous.epoch:
        if profile.kcv != previous.kcv or any(old_keys.get(epoch) != leaf for epoch, leaf in new_keys.items()):
            raise RuleError("a profile's keys change without a new epoch", evidence=evidence)
        return
    if profile.epoch != previous.epoch + 1 or profile.kcv == previous.kcv:
        raise RuleError("a profile's epoch does not rise by one with a new key", evidence=evidence)
    wraps = {grant.wrap_sha256 for grant in previous.grants.values()}
    boxes = {leaf.box_sha256 for leaf in old_keys.values()}
    if any(grant.wrap_sha256 in wraps for grant in profile.grants.values()) or any(
        leaf.box_sha256 in boxes for leaf in new_keys.values()
    ):
        raise RuleError("a profile's new epoch keeps an old wrap or box", evidence=evidence)


def _check_contents(before: OrgState, after: OrgState, profile_id: bytes, author: bytes) -> None:
    contents = after.contents[profile_id].document
    known = before.contents.get(profile_id)
    if known is not None and known.document.sha256 == contents.sha256:
        return
    _check_contents_numbers(after, contents, None if known is None else known.document)
    is_admin = after.org.document.role_of(author) == "admin"
    old, new = before.leaves("entries", profile_id), after.leaves("entries", profile_id)
    if not old.keys() <= new.keys():
        raise RuleError("an entry is gone without a trace", evidence={"profile": profile_id.hex()})
    for secret_id, value in new.items():
        if old.get(secret_id) != value:
            _check_entry(secret_id, old.get(secret_id), decode_entry_leaf(value), contents, is_admin=is_admin)


def _check_contents_numbers(after: OrgState, contents: Contents, known: Contents | None) -> None:
    evidence = {"profile": contents.profile_id.hex()}
    resume = after.org.document.resume
    version = 1 if known is None else known.version + 1
    prev = ZERO_HASH if known is None else known.sha256
    resumed = resume is not None and after.head.document.prev == resume.head_sha256 and contents.version > RESUME_JUMP
    if contents.seq != after.seq or contents.prev != prev or (contents.version != version and not resumed):
        raise RuleError("a contents does not follow the one before", evidence=evidence)


def _check_entry(secret_id: bytes, old: bytes | None, new: EntryLeaf, contents: Contents, *, is_admin: bool) -> None:
    """A change is a new version, the same version under a new epoch (a re-key), or a higher ``oldest`` (a purge)."""
    evidence = {"profile": contents.profile_id.hex(), "secret": secret_id.hex()}
    if old is None:
        if (new.version, new.oldest, new.prev) != (1, 1, ZERO_HASH) or not new.is_live:
            raise RuleError("a new entry does not begin at version 1", evidence=evidence)
        _require_epoch(new, contents)
        return
    previous = decode_entry_leaf(old)
    if new.prev != leaf_link(secret_id, old):
        raise RuleError("an entry does not follow the one before", evidence=evidence)
    if new.oldest < previous.oldest or (new.oldest > previous.oldest and not is_admin):
        raise RuleError("an entry's oldest version falls, or is raised by somebody who is no admin", evidence=evidence)
    # What is deleted is not deleted again: each time would leave a leaf that no limit of the history counts.
    written = new.version == previous.version + 1 and (new.is_live or previous.is_live)
    rekeyed = new.version == previous.version and previous.is_live and new.is_live and new.epoch == previous.epoch + 1
    purged = new.replace(prev=previous.prev, oldest=previous.oldest) == previous and new.oldest > previous.oldest
    if not (written or rekeyed or purged):
        raise RuleError("an entry's version does not rise by one", evidence=evidence)
    if not purged:
        _require_epoch(new, contents)
        if new.is_live and new.ciphertext_sha256 == previous.ciphertext_sha256:
            raise RuleError("a new version or epoch of an entry keeps its ciphertext", evidence=evidence)


def _require_epoch(entry: EntryLeaf, contents: Contents) -> None:
    if entry.epoch != contents.profile_epoch:
        evidence = {"profile": contents.profile_id.hex()}
        raise RuleError("a changed entry does not carry the profile's epoch", evidence=evidence)
