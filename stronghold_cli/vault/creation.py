"""Creating an org (protocol section 8, "Create org"): root keys, the first operator, genesis, and the two kits."""

from __future__ import annotations

from collections.abc import Callable

from stronghold_cli.crypto.keys import Keyset, RootKey
from stronghold_cli.crypto.passphrase import DEFAULT, account_unlock_key
from stronghold_cli.protocol.documents.base import NO_EXTENSIONS, ZERO_HASH
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.login import Login
from stronghold_cli.protocol.documents.org import LogKey, Operator, Org, Policy, RootKeys, genesis_org_id
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.envelope import ROOT, sign_envelope
from stronghold_cli.protocol.errors import Unavailable
from stronghold_cli.protocol.keys import SigningKey, sealing_key_hash
from stronghold_cli.protocol.messages import MAX_BODY, Commit, Genesis, decode_committed
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.protocol.rules import check_state
from stronghold_cli.protocol.signed_map import map_root
from stronghold_cli.protocol.state import Changes, OrgState, advance
from stronghold_cli.protocol.steps import check_genesis
from stronghold_cli.protocol.token import OperatorKit, RootKit
from stronghold_cli.vault.operator import SignedServer
from stronghold_cli.version import VERSION

_KEY = 32
_ID = 16


class Place(Record):
    """Where an org is to live: the server's address as it stands in kits and tokens, and the log keys that it offered."""

    address: str
    plain_http: bool
    log_keys: tuple[LogKey, ...]


class NewOrg(Record):
    """A created org: kits to be shown once, the unlocked keyset, and the genesis state."""

    root_kit: RootKit
    operator_kit: OperatorKit
    keyset: Keyset
    state: OrgState

    def __repr__(self) -> str:
        return f"NewOrg({self.state.org_id.hex()})"


class _People(Record):
    """The keys made for a new org."""

    root: RootKey
    keyset: Keyset
    org_id: bytes

    def __repr__(self) -> str:
        return f"_People({self.org_id.hex()})"


def create_org(
    server: SignedServer,
    place: Place,
    *,
    name: str,
    operator_name: str,
    passphrase: str,
    setup_code: str,
    now: int,
    random: Callable[[int], bytes],
) -> NewOrg:
    """Make all keys, sign genesis with root, and send it with the setup code; nothing is kept where the server refuses."""
    root = RootKey(random(_KEY))
    org_id, operator_id = genesis_org_id(root.sign.public), random(_ID)
    people = _People(root=root, keyset=Keyset(random(_KEY), org_id, operator_id), org_id=org_id)
    changes = _genesis(people, place, name, operator_name, now)
    state = advance(None, changes)
    check_state(state)
    check_genesis(state, changes, operator_id)
    kit = OperatorKit(
        plain_http=place.plain_http,
        pin=state.org.document.sha256,
        floor=1,
        org_id=org_id,
        operator_id=operator_id,
        account_key=random(_KEY),
        salt=random(_ID),
        memory_kib=DEFAULT.memory_kib,
        time_cost=DEFAULT.time_cost,
        parallelism=DEFAULT.parallelism,
        address=place.address,
    )
    login_keys = account_unlock_key(passphrase, kit.account_key, kit.salt, DEFAULT, org_id, operator_id)
    keyset_box = login_keys.wrap_keyset(people.keyset, random)
    login = Login(
        org_id=org_id,
        operator_id=operator_id,
        version=1,
        login=login_keys.login.public,
        box_sha256=digest(keyset_box),
        **NO_EXTENSIONS,
    )
    body = Genesis(
        setup_code=setup_code,
        commit=Commit(changes=changes, blobs=(root.seal.public, people.keyset.seal.public), shares={}),
        login=sign_envelope("login", login.payload, operator_id.hex(), people.keyset.sign),
        keyset=keyset_box,
    ).encode()
    key_id = KeyId(kind="o", raw=operator_id)
    _send(server, f"/v1/orgs/{org_id.hex()}", body, people.keyset.request, key_id)
    root_kit = RootKit(
        plain_http=place.plain_http,
        pin=state.org.document.sha256,
        floor=1,
        org_id=org_id,
        root_key=root.raw,
        address=place.address,
    )
    return NewOrg(root_kit=root_kit, operator_kit=kit, keyset=people.keyset, state=state)


def _send(server: SignedServer, target: str, body: bytes, key: SigningKey, key_id: KeyId) -> None:
    """Send genesis, once more where no answer came: the server answers the same genesis as done, without a second effect."""
    try:
        answer = server.request("POST", target, body, key, key_id, MAX_BODY)
    except Unavailable:
        answer = server.request("POST", target, body, key, key_id, MAX_BODY)
    decode_committed(answer)


def _genesis(people: _People, place: Place, name: str, operator_name: str, now: int) -> Changes:
    """Org document signed by root; structure and head, both empty, signed by the first operator."""
    keyset, operator_id = people.keyset, people.keyset.operator_id
    org = Org(
        org_id=people.org_id,
        name=name,
        seq=1,
        prev=ZERO_HASH,
        root=RootKeys(sign=people.root.sign.public, seal_sha256=sealing_key_hash(people.root.seal.public)),
        operators={
            operator_id: Operator(
                name=operator_name,
                sign=keyset.sign.public,
                request=keyset.request.public,
                seal_sha256=sealing_key_hash(keyset.seal.public),
                role="admin",
            )
        },
        policy=Policy(client_min=VERSION, max_head_age=0),
        log_keys=place.log_keys,
        resume=None,
        created=now,
        **NO_EXTENSIONS,
    )
    structure = Structure(
        org_id=people.org_id,
        seq=1,
        prev=ZERO_HASH,
        documents=map_root({}),
        lockdowns=(),
        created=now,
        **NO_EXTENSIONS,
    )
    head = Head(
        org_id=people.org_id,
        seq=1,
        prev=ZERO_HASH,
        org_sha256=org.sha256,
        structure_sha256=structure.sha256,
        contents=map_root({}),
        created=now,
        **NO_EXTENSIONS,
    )
    keyid = operator_id.hex()
    return Changes(
        org=(sign_envelope("org", org.payload, ROOT, people.root.sign),),
        heads=(sign_envelope("head", head.payload, keyid, keyset.sign),),
        structure=sign_envelope("structure", structure.payload, keyid, keyset.sign),
        contents=(),
        payloads=(),
        maps={},
    )
