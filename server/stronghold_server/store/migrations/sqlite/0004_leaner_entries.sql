-- What every request leaves behind, in fewer and shorter rows.

-- The nodes of the log's tree stand in the row of the leaf that finished them, the leaf's own hash (level 0) first.
ALTER TABLE log_leaves ADD COLUMN nodes BLOB NOT NULL DEFAULT x'';
WITH RECURSIVE levels (level) AS (SELECT 0 UNION ALL SELECT level + 1 FROM levels WHERE level < 52)
UPDATE log_leaves SET nodes = (
    SELECT unhex(group_concat(hex(hash), '' ORDER BY level))
    FROM levels CROSS JOIN log_nodes USING (level)
    WHERE log_nodes.org_id = log_leaves.org_id
        AND log_nodes.position = ((log_leaves.position + 1) >> level) - 1
        AND (log_leaves.position + 1) % (1 << level) = 0
);
DROP TABLE log_nodes;

-- Side rows grow old in the order of their entries.
DROP INDEX log_sides_age;

-- A request is the first half of SHA-256(TLV(org_id, key id, nonce)).
CREATE TABLE requests (
    request BLOB NOT NULL PRIMARY KEY CHECK (length(request) = 16),
    used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_age ON requests (used_at);
INSERT INTO requests (request, used_at)
SELECT substr(sha256(unhex(
    printf('%08x', length(org_id)) || hex(org_id)
    || printf('%08x', length(key_id)) || hex(key_id)
    || printf('%08x', length(nonce)) || hex(nonce)
)), 1, 16), used_at FROM nonces;
DROP TABLE nonces;
