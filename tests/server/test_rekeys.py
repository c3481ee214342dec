"""What a re-key needs of the server: the sealing keys of a whole group, and the boxes that open a profile's history."""

from __future__ import annotations

import os

from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.messages import decode_old_keys, decode_sealing_keys
from tests.server.furnished import Furnished


def test_sealing_keys_of_a_group_are_those_of_its_members(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    outsider = org.add_agent(draft, "Outsider")
    org.mint(draft, outsider)
    reader = org.add_person(draft, "Rea", "reader")
    org.apply(draft)
    keys = decode_sealing_keys(org.get(org.admin, f"/sealing-keys?group={full.group.hex()}").body)
    tokens = org.state.agents[full.agent].tokens.values()
    assert {digest(key) for key in keys} == {
        org.root.seal.public_sha256,
        org.admin.keyset.seal.public_sha256,
        *(token.seal_sha256 for token in tokens),
    }
    assert reader.keyset.seal.public not in keys
    reply = org.get(org.admin, f"/sealing-keys?group={os.urandom(16).hex()}")
    assert (reply.status, reply.code) == (404, "NOT_FOUND")
    reply = org.get(org.admin, f"/sealing-keys?group={full.group.hex()}&agent={full.agent.hex()}")
    assert (reply.status, reply.code) == (400, "MALFORMED")


def test_boxes_of_older_keys_are_those_that_a_kept_version_needs(full: Furnished) -> None:
    org = full.org
    path = f"/profiles/{full.profile.hex()}/old-keys"
    assert decode_old_keys(org.get(org.admin, path).body) == ()
    draft = org.draft()
    org.rekey_profile(draft, full.profile)
    org.apply(draft)
    # Every version was encrypted anew: none is kept under the first key, whose box is not needed.
    assert org.state.old_keys(full.profile).keys() == {1}
    assert decode_old_keys(org.get(org.admin, path).body) == ()
    draft = org.draft()
    org.put(draft, full.profile, "API_KEY", b"newer", full.second_secret)
    org.apply(draft)
    draft = org.draft()
    org.rekey_profile(draft, full.profile)
    org.apply(draft)
    (box,) = decode_old_keys(org.get(org.admin, path).body)
    assert digest(box) == org.state.old_keys(full.profile)[2].box_sha256
    entry = org.world.last(org.org_id)
    contents = org.state.contents[full.profile].document
    assert (entry.kind, entry.document and entry.document.sha256) == ("old-keys", contents.sha256)
    reply = org.get(org.admin, f"/profiles/{os.urandom(16).hex()}/old-keys")
    assert (reply.status, reply.code) == (404, "NOT_FOUND")
