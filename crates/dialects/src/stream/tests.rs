//! Streams cut at every byte, faults of every kind, and what must never look complete.
