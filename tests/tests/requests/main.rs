//! What a request meets at the front door: who may ask, how a refusal reads, what reaches the upstream and what comes
//! back.

mod auth;
mod budgets;
mod confidence;
mod egress;
mod faithful;
mod limits;
mod listing;
mod passthrough;
mod paths;
mod prose;
mod refusals;
mod said_failures;
mod searches;
mod surface;
mod system_prompt;
mod tcp;
mod unpriced;
mod views;
