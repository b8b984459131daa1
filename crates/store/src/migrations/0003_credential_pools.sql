-- How a credential may be used, apart from its share (profile, limit of the day, turns).
ALTER TABLE credentials ADD COLUMN terms TEXT NOT NULL DEFAULT '{}';

-- What became of credentials: written by the server while it runs, and by operators. Not part of what is declared.
CREATE TABLE credential_states (
    credential_id BIGINT PRIMARY KEY,
    activation BIGINT NOT NULL,       -- grows each time that it is put back into service
    deactivated_at BIGINT,
    reason TEXT NOT NULL,
    out_of_credit_at BIGINT
);

-- Requests sent with a credential by day (days since the epoch, UTC).
CREATE TABLE credential_days (
    credential_id BIGINT NOT NULL,
    day BIGINT NOT NULL,
    uses BIGINT NOT NULL,
    PRIMARY KEY (credential_id, day)
);
