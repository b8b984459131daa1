//! Amazon's signature, checked as its documentation describes it.

use aws_lc_rs::{digest, hmac};
use testkit::upstream::Received;

pub(crate) const AWS_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub(crate) const AWS_TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE==";

/// Amazon's signature, as its documentation describes it, of what came.
pub(crate) fn assert_signed(asked: &Received, region: &str) {
    let authorization = asked.header("authorization").expect("a signature");
    let part = |name: &str| {
        let rest = authorization.split_once(&format!("{name}=")).expect(name).1;
        rest.split(", ").next().unwrap_or_default().to_owned()
    };
    let time = asked.header("x-amz-date").expect("a time");
    let day = &time[..8];
    assert_eq!(
        part("Credential"),
        format!("AKIDEXAMPLE/{day}/{region}/bedrock/aws4_request")
    );
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    };
    let hash = |bytes: &[u8]| hex(digest::digest(&digest::SHA256, bytes).as_ref());
    let path: String = asked
        .path()
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    let signed = part("SignedHeaders");
    let headers = signed.split(';').fold(String::new(), |lines, name| {
        let value = asked.header(name).unwrap_or_else(|| panic!("{name} is not there"));
        lines + name + ":" + value + "\n"
    });
    let canonical = format!("POST\n{path}\n\n{headers}\n{signed}\n{}", hash(&asked.body));
    let scope = format!("{day}/{region}/bedrock/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hash(canonical.as_bytes()));
    let sign = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
            .as_ref()
            .to_vec()
    };
    let key = [day, region, "bedrock", "aws4_request"]
        .iter()
        .fold(format!("AWS4{AWS_SECRET}").into_bytes(), |key, part| sign(&key, part));
    assert_eq!(part("Signature"), hex(&sign(&key, &text)), "{canonical}");
    for needed in ["host", "x-amz-date", "x-amz-security-token"] {
        assert!(signed.split(';').any(|name| name == needed), "{needed} is not signed");
    }
    assert_eq!(asked.header("x-amz-security-token"), Some(AWS_TOKEN));
}
