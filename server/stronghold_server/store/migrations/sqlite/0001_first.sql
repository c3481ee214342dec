-- The first schema. Every table of an org leads with org_id, so that a store that shards by tenant can spread it.
-- Tables of small rows are WITHOUT ROWID; those whose rows hold documents or blobs are not, since a b-tree of keys
-- moves anything over a quarter page to a page of its own.

CREATE TABLE setup_codes (
    code_sha256 BLOB NOT NULL PRIMARY KEY,
    created INTEGER NOT NULL,
    used INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX setup_codes_unused ON setup_codes (code_sha256) WHERE used IS NULL;

CREATE TABLE orgs (
    org_id BLOB NOT NULL PRIMARY KEY CHECK (length(org_id) = 32),
    name TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- org, structure, contents, head. to_seq is null while the document is the current one of its kind and subject.
CREATE TABLE signed_documents (
    org_id BLOB NOT NULL REFERENCES orgs (org_id),
    kind TEXT NOT NULL CHECK (kind IN ('org', 'structure', 'contents', 'head')),
    subject BLOB NOT NULL,
    seq INTEGER NOT NULL,
    version INTEGER NOT NULL,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    envelope BLOB NOT NULL,
    signed_seq INTEGER NOT NULL,
    to_seq INTEGER
) STRICT;
CREATE UNIQUE INDEX signed_documents_chain ON signed_documents (org_id, kind, subject, seq);
CREATE UNIQUE INDEX signed_documents_hash ON signed_documents (org_id, kind, sha256);
CREATE UNIQUE INDEX signed_documents_current ON signed_documents (org_id, kind, subject) WHERE to_seq IS NULL;
CREATE INDEX signed_documents_signed ON signed_documents (org_id, kind, signed_seq) WHERE to_seq IS NULL;

CREATE TABLE payloads (
    org_id BLOB NOT NULL REFERENCES orgs (org_id),
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    payload BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX payloads_hash ON payloads (org_id, sha256);

-- The leaves of all signed maps, each with the seqs between which it stood; to_seq is null while it stands.
CREATE TABLE leaves (
    org_id BLOB NOT NULL REFERENCES orgs (org_id),
    map BLOB NOT NULL,
    key BLOB NOT NULL,
    from_seq INTEGER NOT NULL,
    to_seq INTEGER CHECK (to_seq > from_seq),
    value BLOB NOT NULL,
    PRIMARY KEY (org_id, map, key, from_seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX leaves_current ON leaves (org_id, map, key) WHERE to_seq IS NULL;
CREATE INDEX leaves_from ON leaves (org_id, map, from_seq) WHERE to_seq IS NULL;
CREATE INDEX leaves_to ON leaves (org_id, map, to_seq) WHERE to_seq IS NOT NULL;

CREATE TABLE blobs (
    org_id BLOB NOT NULL REFERENCES orgs (org_id),
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    content BLOB NOT NULL,
    created INTEGER NOT NULL,
    named INTEGER NOT NULL DEFAULT 0 CHECK (named >= 0)
) STRICT;
CREATE UNIQUE INDEX blobs_hash ON blobs (org_id, sha256);
CREATE INDEX blobs_unnamed ON blobs (org_id, created) WHERE named = 0;

CREATE TABLE shares (
    org_id BLOB NOT NULL REFERENCES orgs (org_id),
    token_id BLOB NOT NULL CHECK (length(token_id) = 16),
    share BLOB NOT NULL CHECK (length(share) = 32),
    PRIMARY KEY (org_id, token_id)
) STRICT, WITHOUT ROWID;

-- Kept for ever. The one table of orgs that is found by the token's id alone: a token does not name its org.
CREATE TABLE tokens (
    token_id BLOB NOT NULL PRIMARY KEY CHECK (length(token_id) = 16),
    org_id BLOB NOT NULL REFERENCES orgs (org_id),
    agent_id BLOB NOT NULL CHECK (length(agent_id) = 16),
    auth_public_key BLOB NOT NULL CHECK (length(auth_public_key) = 32),
    ended TEXT CHECK (ended IN ('revoked', 'expired')),
    ended_at INTEGER CHECK ((ended_at IS NULL) = (ended IS NULL)),
    last_used INTEGER,
    uses INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_org ON tokens (org_id, token_id);

CREATE TABLE operators (
    org_id BLOB NOT NULL REFERENCES orgs (org_id),
    operator_id BLOB NOT NULL CHECK (length(operator_id) = 16),
    request_key BLOB NOT NULL CHECK (length(request_key) = 32),
    login_key BLOB NOT NULL CHECK (length(login_key) = 32),
    login_record BLOB NOT NULL,
    keyset_box BLOB NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0 CHECK (ended IN (0, 1))
) STRICT;
CREATE UNIQUE INDEX operators_id ON operators (org_id, operator_id);

CREATE TABLE nonces (
    org_id BLOB NOT NULL,
    key_id TEXT NOT NULL,
    nonce BLOB NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (org_id, key_id, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX nonces_age ON nonces (used_at);

CREATE TABLE log_heads (
    org_id BLOB NOT NULL PRIMARY KEY REFERENCES orgs (org_id),
    size INTEGER NOT NULL,
    root BLOB NOT NULL CHECK (length(root) = 32),
    peaks BLOB NOT NULL,
    server_time INTEGER NOT NULL,
    head_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE log_leaves (
    org_id BLOB NOT NULL,
    position INTEGER NOT NULL,
    leaf BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX log_leaves_position ON log_leaves (org_id, position);

-- The complete subtrees of the RFC 6962 tree; level 0 holds the leaf hashes.
CREATE TABLE log_nodes (
    org_id BLOB NOT NULL,
    level INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (org_id, level, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_sides (
    org_id BLOB NOT NULL,
    position INTEGER NOT NULL,
    server_time INTEGER NOT NULL,
    salt BLOB NOT NULL,
    address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    PRIMARY KEY (org_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX log_sides_age ON log_sides (org_id, server_time);

CREATE TABLE counters (
    kind TEXT NOT NULL PRIMARY KEY,
    count INTEGER NOT NULL,
    last INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
