-- Columns are text, 64-bit integers and booleans; JSON is text. Times are microseconds since the epoch, money is
-- nano-dollars. There are no foreign keys: relations are kept by the program, and money outlives what it belongs to.

-- One row: what the whole database is.
CREATE TABLE meta (
    id BIGINT PRIMARY KEY,
    schema BIGINT NOT NULL,
    identity TEXT NOT NULL,           -- of this database and its copies
    revision BIGINT NOT NULL,         -- grows with every change of a resource
    ledger BIGINT NOT NULL,           -- grows with every change of a balance
    hash_key TEXT NOT NULL            -- sealed; by it client keys are hashed
);

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE users (
    id {id},
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,           -- the name in lower case
    policy TEXT,
    origin TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    archived_at BIGINT
);
CREATE UNIQUE INDEX users_name ON users (name_key) WHERE archived_at IS NULL;

CREATE TABLE keys (
    id {id},
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    user_id BIGINT NOT NULL,
    hash TEXT NOT NULL,               -- HMAC-SHA-256 in hex
    prefix TEXT NOT NULL,             -- enough to recognise it by
    terms TEXT NOT NULL,
    origin TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    archived_at BIGINT
);
CREATE UNIQUE INDEX keys_name ON keys (name_key) WHERE archived_at IS NULL;
CREATE UNIQUE INDEX keys_hash ON keys (hash) WHERE archived_at IS NULL;

CREATE TABLE upstreams (
    id {id},
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    decl TEXT NOT NULL,
    hidden BOOLEAN NOT NULL,          -- made from an inline target of a model
    origin TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    archived_at BIGINT
);
CREATE UNIQUE INDEX upstreams_name ON upstreams (name_key) WHERE archived_at IS NULL;

CREATE TABLE credentials (
    id {id},
    upstream_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    secret TEXT NOT NULL,             -- sealed
    masked TEXT NOT NULL,             -- enough to recognise it by
    weight BIGINT NOT NULL,
    origin TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    archived_at BIGINT
);
CREATE UNIQUE INDEX credentials_name ON credentials (upstream_id, name_key) WHERE archived_at IS NULL;

CREATE TABLE models (
    id {id},
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    decl TEXT NOT NULL,
    origin TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    archived_at BIGINT
);
CREATE UNIQUE INDEX models_name ON models (name_key) WHERE archived_at IS NULL;

-- What a user has. `sequence` is the value of meta.ledger at its last change.
CREATE TABLE accounts (
    user_id BIGINT PRIMARY KEY,
    balance_nanos BIGINT NOT NULL,
    sequence BIGINT NOT NULL
);
CREATE INDEX accounts_sequence ON accounts (sequence);

-- Every change of a balance; never changed, never deleted.
CREATE TABLE movements (
    id {id},
    user_id BIGINT NOT NULL,
    kind TEXT NOT NULL,               -- opening, credit, adjust, charge
    amount_nanos BIGINT NOT NULL,
    batch_id BIGINT,                  -- of a charge
    note TEXT NOT NULL,
    actor TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX movements_user ON movements (user_id, id);

-- Which stretch of which journal was booked together. The id is the value of meta.ledger.
CREATE TABLE batches (
    id BIGINT PRIMARY KEY,
    journal TEXT NOT NULL,
    from_segment BIGINT NOT NULL,
    from_offset BIGINT NOT NULL,
    to_segment BIGINT NOT NULL,
    to_offset BIGINT NOT NULL,
    receipts BIGINT NOT NULL,
    charged_nanos BIGINT NOT NULL,
    at BIGINT NOT NULL
);

-- Up to where each journal is booked.
CREATE TABLE journals (
    id TEXT PRIMARY KEY,
    segment BIGINT NOT NULL,
    position BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Finished calls; never deleted. The request log is this table too (docs/adr/0010-request-log.md): rows that are still
-- `logged`, by time. Clearing the log strips what is only log from `body` and takes the row out of that index.
CREATE TABLE receipts (
    call TEXT PRIMARY KEY,
    user_id BIGINT NOT NULL,
    key_id BIGINT NOT NULL,
    batch_id BIGINT NOT NULL,
    finished_at BIGINT NOT NULL,
    charged_nanos BIGINT NOT NULL,
    cost_nanos BIGINT NOT NULL,
    uncollected_nanos BIGINT NOT NULL,
    flag TEXT NOT NULL,               -- '', estimated, quarantined, unpriced
    body TEXT NOT NULL,               -- as journalled
    logged BOOLEAN NOT NULL DEFAULT TRUE
);
CREATE INDEX receipts_log ON receipts (finished_at) WHERE logged;

-- Usage by day (days since the epoch, UTC) and model; never deleted: its sum is a user's lifetime statistics.
CREATE TABLE usage_days (
    user_id BIGINT NOT NULL,
    day BIGINT NOT NULL,
    model TEXT NOT NULL,
    calls BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    input BIGINT NOT NULL,
    cache_read BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    output BIGINT NOT NULL,
    charged_nanos BIGINT NOT NULL,
    cost_nanos BIGINT NOT NULL,
    uncollected_nanos BIGINT NOT NULL,
    PRIMARY KEY (user_id, day, model)
)
