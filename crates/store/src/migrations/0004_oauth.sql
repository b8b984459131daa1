-- Credentials that log in instead of having a key (docs/adr/0022-accounts-whose-secret-is-renewed.md). Their row in
-- `credentials` holds no secret; what is renewed is here.
ALTER TABLE credentials ADD COLUMN kind TEXT NOT NULL DEFAULT 'key';    -- key, account

CREATE TABLE oauth_accounts (
    credential_id BIGINT PRIMARY KEY,
    mode TEXT NOT NULL,               -- of the configuration; names the plan
    tokens TEXT NOT NULL,             -- sealed
    generation BIGINT NOT NULL,       -- grows with every pair of tokens
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,       -- of the access token
    needs_login TEXT,                 -- why somebody has to log in again
    trouble TEXT,                     -- what went wrong at the last renewal, and will be tried again
    trouble_at BIGINT,
    lease_owner TEXT NOT NULL,        -- who may renew it now
    lease_until BIGINT NOT NULL,
    stats_since BIGINT NOT NULL       -- from when its use is counted for display
);

-- Logins that somebody began and has not finished.
CREATE TABLE oauth_logins (
    id TEXT PRIMARY KEY,              -- a hash of `state`
    login TEXT NOT NULL,              -- sealed
    expires_at BIGINT NOT NULL
);
CREATE INDEX oauth_logins_expiry ON oauth_logins (expires_at)
