-- What one commit replaced, found by the seq of its head: for operators who go back from the current state.

CREATE INDEX leaves_begun ON leaves (org_id, from_seq);
CREATE INDEX leaves_ended ON leaves (org_id, to_seq) WHERE to_seq IS NOT NULL;
CREATE INDEX signed_documents_ended ON signed_documents (org_id, to_seq) WHERE to_seq IS NOT NULL;
