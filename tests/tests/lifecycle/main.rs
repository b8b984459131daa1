//! The life of the process and what operators do to it: starting, stopping, changing its mind, commands beside it, and
//! coming back from a backup.

mod commands;
mod cut;
mod files;
mod reload;
mod restore;
mod schema;
mod start;
mod stop;
