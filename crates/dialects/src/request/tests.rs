//! Scans and edits, by example and by property.
