-- Where a thing lives that an upstream made for a client (docs/adr/0017-pins-and-kept-conversations.md).
CREATE TABLE pins (
    id TEXT NOT NULL,                 -- the upstream's name for it
    user_id BIGINT NOT NULL,
    key_id BIGINT NOT NULL,
    upstream_id BIGINT NOT NULL,
    credential_id BIGINT NOT NULL,
    made_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    job TEXT,                         -- JSON: the call that is not billed yet
    PRIMARY KEY (id, user_id)
);
CREATE INDEX pins_expiry ON pins (expires_at);
CREATE INDEX pins_jobs ON pins (made_at) WHERE job IS NOT NULL;

-- Conversations that are kept here, one row per answer.
CREATE TABLE turns (
    id TEXT NOT NULL,
    user_id BIGINT NOT NULL,
    key_id BIGINT NOT NULL,
    previous TEXT,                    -- the turn before
    made_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    bytes BIGINT NOT NULL,            -- of what was said
    sealed TEXT NOT NULL,             -- what was said
    PRIMARY KEY (id, user_id)
);
CREATE INDEX turns_expiry ON turns (expires_at);
