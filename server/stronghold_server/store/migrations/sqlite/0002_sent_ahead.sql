-- Who sent a blob ahead of the commit that will name it. Only that operator may name it, and only they are told of it.
-- The bytes stand in blobs, with nothing that names them.

CREATE TABLE sent_ahead (
    org_id BLOB NOT NULL REFERENCES orgs (org_id),
    operator_id BLOB NOT NULL CHECK (length(operator_id) = 16),
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    length INTEGER NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (org_id, operator_id, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX sent_ahead_age ON sent_ahead (org_id, created);
