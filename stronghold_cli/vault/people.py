"""Acts on people: add an operator, change a role, remove an operator, and say who may write a profile (sections 5 and 8).

Whoever loses a right loses in the same commit what it gave: the groups that they can no longer be in get new keys, with
every profile there (rule R11), and what they signed last is signed anew by the author (``Draft.finish``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from stronghold_cli.protocol.documents.base import ROLES
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.leaves import MemberLeaf
from stronghold_cli.protocol.documents.org import MAX_OPERATORS, Operator
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.errors import Conflict, NotFound, UsageError
from stronghold_cli.protocol.keys import sealing_key_hash
from stronghold_cli.protocol.names import require_name
from stronghold_cli.protocol.record import Record
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.lookup import require_free
from stronghold_cli.vault.rekeying import Rekeyed, rekey
from stronghold_cli.vault.sealing import seal_to_member


class Newcomer(Record):
    """Whom an admin lets in: id and name, and the public keys of their keyset, ``seal_public`` of 1216 bytes.

    That these are the person's own keys is for the caller to know (section 8, "Invite").
    """

    operator_id: bytes
    name: str
    sign: bytes
    request: bytes
    seal_public: bytes


def add_operator(draft: Draft, newcomer: Newcomer, role: str) -> None:
    """Let a person into the org; an admin becomes a member of every group."""
    _require_role(role)
    name = require_name("operator", newcomer.name)
    operators = draft.org.operators
    require_free("operator", operators, name)
    if newcomer.operator_id in operators:
        raise Conflict(f"{operators[newcomer.operator_id].name!r} is an operator of this org already.")
    if len(operators) >= MAX_OPERATORS:
        raise UsageError(f"The org has {MAX_OPERATORS} operators, as many as there can be.", hint="Remove one first.")
    operator = Operator(
        name=name,
        sign=newcomer.sign,
        request=newcomer.request,
        seal_sha256=sealing_key_hash(newcomer.seal_public),
        role=role,
    )
    _put_operators(draft, {**operators, newcomer.operator_id: operator})
    draft.add_blob(newcomer.seal_public)
    if role == "admin":
        public_keys = {operator.seal_sha256: newcomer.seal_public}
        _seal_groups(draft, draft.groups().values(), newcomer.operator_id, public_keys)


def change_role(draft: Draft, operator_id: bytes, role: str) -> Rekeyed:
    """Give an operator another role. What they can no longer read gets new keys; an admin is a member of every group."""
    _require_role(role)
    operator = _require_somebody_else(draft, operator_id)
    if operator.role == role:
        return rekey(draft)
    read = _groups_of(draft, operator_id)
    _put_operators(draft, {**draft.org.operators, operator_id: operator.replace(role=role)})
    if role == "auditor":
        _leave_groups(draft, operator_id)
    if role != "editor":
        _leave_editors(draft, operator_id)
    reads = _groups_of(draft, operator_id)
    joined = [group for group_id, group in reads.items() if group_id not in read]
    if joined:
        _seal_groups(draft, joined, operator_id, draft.keys.people())
    return rekey(draft, groups=read.keys() - reads.keys())


def remove_operator(draft: Draft, operator_id: bytes) -> Rekeyed:
    """Take an operator out of the org: everything that they could read gets new keys."""
    _require_somebody_else(draft, operator_id)
    read = _groups_of(draft, operator_id)
    _put_operators(draft, {id_: each for id_, each in draft.org.operators.items() if id_ != operator_id})
    _leave_groups(draft, operator_id)
    _leave_editors(draft, operator_id)
    return rekey(draft, groups=read)


def set_editors(draft: Draft, profile: Profile, editors: Collection[bytes]) -> Profile:
    """Say which editors may write a profile, and no others may; admins may write every one."""
    for operator_id in editors:
        operator = _require_operator(draft, operator_id)
        if operator.role == "admin":
            raise UsageError(f"{operator.name!r} is an admin, and admins may write every profile.")
        if operator.role != "editor":
            raise UsageError(
                f"{operator.name!r} has the role {operator.role}, and may write no profile.",
                hint="Change their role first.",
            )
    chosen = tuple(sorted(set(editors)))
    if chosen != profile.editors:
        draft.put(profile.replace(editors=chosen))
    return draft.profiles()[profile.id]


def _require_role(role: str) -> None:
    if role not in ROLES:
        raise UsageError(f"{role[:40]!r} is not a role.", hint=f"Choose one of: {', '.join(ROLES)}")


def _require_somebody_else(draft: Draft, operator_id: bytes) -> Operator:
    """The operator, who is not the author: a commit is signed by somebody who is an admin after it, too."""
    operator = _require_operator(draft, operator_id)
    if operator_id == draft.keyset.operator_id:
        raise UsageError("Nobody changes their own role or removes themselves.", hint="Ask another admin to do it.")
    return operator


def _require_operator(draft: Draft, operator_id: bytes) -> Operator:
    operator = draft.org.operators.get(operator_id)
    if operator is None:
        raise NotFound("This operator was removed meanwhile.")
    return operator


def _put_operators(draft: Draft, operators: Mapping[bytes, Operator]) -> None:
    draft.put_org(draft.org.replace(operators=dict(operators)))


def _groups_of(draft: Draft, operator_id: bytes) -> dict[bytes, Group]:
    """The groups of which the operator is a member as the draft leaves them."""
    is_admin = draft.org.role_of(operator_id) == "admin"
    return {id_: group for id_, group in draft.groups().items() if is_admin or operator_id in group.operators}


def _leave_groups(draft: Draft, operator_id: bytes) -> None:
    for group in draft.groups().values():
        if operator_id in group.operators:
            draft.put(group.replace(operators=tuple(id_ for id_ in group.operators if id_ != operator_id)))


def _leave_editors(draft: Draft, operator_id: bytes) -> None:
    for profile in draft.profiles().values():
        if operator_id in profile.editors:
            draft.put(profile.replace(editors=tuple(id_ for id_ in profile.editors if id_ != operator_id)))


def _seal_groups(draft: Draft, groups: Collection[Group], operator_id: bytes, public_keys: Mapping[bytes, bytes]) -> None:
    seal_sha256 = draft.org.operators[operator_id].seal_sha256
    leaf = MemberLeaf(kind="operator", owner=b"", seal_sha256=seal_sha256, sealed_sha256=b"")
    for group in groups:
        seal_to_member(draft, draft.keys.group(group.id), operator_id, leaf, public_keys)
