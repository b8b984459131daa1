//! The data plane's shell: HTTP in, the pipeline of a call, HTTP out, and the receipt.
//!
//! The decisions are made elsewhere, in crates that do no IO (`dialects` reads bytes, `routing` chooses, `metering`
//! counts money); this crate connects them to sockets, clocks and the journal. `pipeline` reads as the life of a
//! call. Control and data plane meet only in data: a new [`domain::Snapshot`] is published, nothing else.

mod admit;
mod arrival;
mod asked;
mod authenticate;
mod body;
mod budget;
mod clock;
mod cors;
mod count_tokens;
mod decisions;
mod demo;
mod dispatch;
mod fetch;
mod gateway;
mod graceful;
mod headers;
mod health;
mod inbound;
mod limits;
mod listing;
mod metrics;
mod needs;
pub mod oauth;
mod operate;
mod own_address;
mod passthrough;
mod pipeline;
mod realtime;
mod recall;
mod recovery;
mod refuse;
mod relay;
mod selfwake;
mod server;
mod settle;
mod stop;
mod translation;
mod uploads;
mod upstream;

pub use authenticate::presented_key;
pub use body::Body;
pub use clock::Clock;
pub use gateway::{BacklogProbe, Gateway, GatewayOptions};
pub use health::{Checkup, CheckupStep};
pub use server::{ServeOptions, serve};
pub use upstream::{AddressRules, Resolve, Resolving, SystemResolver};
