-- What providers named of a credential's rests (times, allowances of accounts), as JSON: kept to the letter over restarts.
ALTER TABLE credential_states ADD COLUMN rests TEXT;
