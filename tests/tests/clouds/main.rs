//! Clouds from outside: what goes to Bedrock, Vertex AI and Azure, by which secret, and what clients of every format get.
//!
//! Signatures and claims are checked here by a second hand: with the crypto library, but none of the product's code.

mod azure;
mod bedrock;
mod bedrock_invoke;
mod event_stream;
mod lab;
mod signature;
mod vertex;

use testkit::gateway::Setup;

#[test]
fn what_is_missing_is_said_before_the_start() {
    let config = "upstreams:
  - {name: a, provider: bedrock, credentials: [{name: k, key: \"AKID EXAMPLE:x\"}]}
  - {name: b, provider: vertex, variables: {project: p, zone: x}}
";
    let checked = Setup::config(config).prepare().cli(&["check"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(said.contains("wants `variables: {region: …}`"), "{said}");
    assert!(said.contains("there is no variable `zone`"), "{said}");
    assert!(said.contains("access_key_id:secret_access_key"), "{said}");
    assert!(!said.contains("AKID"), "{said}");
}
