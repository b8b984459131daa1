-- Of a response: how many bytes of the instructions that its upstream repeats are the operator's, and shown to nobody.
ALTER TABLE pins ADD COLUMN operators_bytes BIGINT;
