//! The secrets that are planted, each with a middle that occurs nowhere else.

/// What was planted, and the middle that is looked for.
pub(crate) const PLANTED: [(&str, &str, &str); 14] = [
    (
        "the client's key",
        "sk-tg-aaaa-CLIENTMIDDLE0451-zzzz",
        "CLIENTMIDDLE0451",
    ),
    (
        "a key that nobody knows",
        "sk-tg-aaaa-WRONGMIDDLE0452-zzzz",
        "WRONGMIDDLE0452",
    ),
    (
        "the openai credential",
        "sk-proj-aaaa-OPENAIMIDDLE0453-zzzz",
        "OPENAIMIDDLE0453",
    ),
    (
        "the anthropic credential",
        "sk-ant-aaaa-CLAUDEMIDDLE0454-zzzz",
        "CLAUDEMIDDLE0454",
    ),
    (
        "the gemini credential",
        "AIzaaaaa-GEMINIMIDDLE0455-zzzz",
        "GEMINIMIDDLE0455",
    ),
    // Base64 of 32 bytes: its own middle in base64.
    (
        "the encryption key",
        "RU5DUllQVElPTk1JRERMRTA0NTYtMDEyMzQ1Njc4OTA=",
        "lPTk1JRERMRTA0NTYtMDEy",
    ),
    ("the admin token", "aaaa-ADMINMIDDLE0457-zzzz", "ADMINMIDDLE0457"),
    ("the master key", "aaaa-MASTERMIDDLE0458-zzzz", "MASTERMIDDLE0458"),
    ("the proxy's login", "aaaa-PROXYMIDDLE0459-zzzz", "PROXYMIDDLE0459"),
    (
        "the value of a header",
        "aaaa-HEADERMIDDLE0460-zzzz",
        "HEADERMIDDLE0460",
    ),
    ("the prompt", "aaaa PROMPTMIDDLE0461 zzzz", "PROMPTMIDDLE0461"),
    ("the answer", "aaaa ANSWERMIDDLE0462 zzzz", "ANSWERMIDDLE0462"),
    (
        "a key added by command",
        "sk-tg-aaaa-ADDEDMIDDLE0463-zzzz",
        "ADDEDMIDDLE0463",
    ),
    (
        "a credential added by command",
        "sk-aaaa-SECONDMIDDLE0464-zzzz",
        "SECONDMIDDLE0464",
    ),
];

pub(crate) const CLIENT: usize = 0;
pub(crate) const WRONG: usize = 1;
pub(crate) const OPENAI: usize = 2;
pub(crate) const CLAUDE: usize = 3;
pub(crate) const GEMINI: usize = 4;
pub(crate) const ENCRYPTION: usize = 5;
pub(crate) const ADMIN: usize = 6;
pub(crate) const MASTER: usize = 7;
pub(crate) const PROXY: usize = 8;
pub(crate) const HEADER: usize = 9;
pub(crate) const PROMPT: usize = 10;
pub(crate) const ANSWER: usize = 11;
pub(crate) const ADDED: usize = 12;
pub(crate) const SECOND: usize = 13;

pub(crate) fn planted(which: usize) -> &'static str {
    PLANTED[which].1
}
