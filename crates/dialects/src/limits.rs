//! Every bound of this crate, with its reason: what a peer sends must not decide how much we hold or how deep we go.

/// Levels of nesting in JSON that we walk; what lies deeper can only be skipped. Schemas of tools stay below 40. Bounds our
/// recursion, so that no input can exhaust a stack.
pub(crate) const DEPTH_MAX: u32 = 128;

/// Levels of nesting in what is read as a tree, because it is told in another format. Arguments of tools may be trees
/// themselves (syntax, documents), but rarely of more than 100 levels. A level costs the reader 0.8 kB of stack (measured, 2.5 kB
/// where nothing is optimised), and a thread has 2 MB.
pub(crate) const NESTED_MAX: usize = 400;

/// Levels of nesting in schemas, which are walked by functions of our own. Providers take five to ten levels.
pub(crate) const SCHEMA_DEPTH_MAX: usize = 100;

/// Bytes of one stream event. Generated pictures come as base64 in one event, up to some 25 MB for the largest.
pub(crate) const EVENT_MAX: usize = 32 * 1024 * 1024;

/// Choices (or candidates) of one answer. `OpenAI` allows 128; beyond it a peer makes numbers up.
pub(crate) const CHOICES_MAX: usize = 256;

/// Models beside the one that answered, in one answer.
pub(crate) const SIDE_USAGE_MAX: usize = 64;

/// Web searches expected of a tool that sets no `max_uses`, and of those that know no such bound: Anthropic pauses the
/// turn after ten rounds of its own tools. A round may search more than once, which is rare; what goes beyond a hold is recorded as uncollected.
pub(crate) const SEARCHES_UNASKED_MAX: u64 = 10;

/// Different queries of one answer that are told apart. Answers have a handful.
pub(crate) const QUERIES_MAX: usize = 256;

/// Bytes of an error body that are read. Real ones stay below 4 KiB, pages of proxies below 64.
pub(crate) const ERROR_BODY_MAX: usize = 64 * 1024;

/// Characters of a provider's message that are kept for the operator.
pub(crate) const MESSAGE_MAX: usize = 300;

/// Bytes of a model name or service tier: longer ones are not names.
pub(crate) const NAME_MAX: usize = 512;

/// Bytes of an impossible usage object that are kept for the operator.
pub(crate) const RAW_USAGE_MAX: usize = 8 * 1024;

/// Bytes after the terminal marker that are kept, for a `[DONE]` that follows the real end.
pub(crate) const TRAILER_MAX: usize = 256;

/// Seconds of a retry-after that are believed: the longest windows of subscriptions are 7 days.
pub(crate) const RETRY_AFTER_MAX_SECS: u64 = 7 * 24 * 3600;

/// Tokens of one call that are believed: a hundred times the largest context window. At a dollar per thousand tokens
/// this is a million dollars, the most that the ledger takes for a price.
pub(crate) const TOKENS_MAX: u64 = 1_000_000_000;

/// Milliseconds of audio of one call that are believed: a month.
pub(crate) const AUDIO_MS_MAX: u64 = 31 * 24 * 3600 * 1000;

/// Searches of one call that are believed.
pub(crate) const SEARCHES_MAX: u64 = 1_000_000;

/// The largest count that every JSON reader reads alike (2^53); no call consumes as much.
pub(crate) const COUNT_MAX: u64 = 1 << 53;

/// Parts of one choice. Agents' answers have some tens.
pub(crate) const PARTS_MAX: usize = 4_096;

/// Bytes of parts that wait for their turn in a format that tells one after the other.
pub(crate) const WAITING_MAX: usize = 16 * 1024 * 1024;

/// Bytes of what a provider did that travel through another format and back: ten searches with ten results each have half
/// of it.
pub(crate) const CARRIED_MAX: usize = 1024 * 1024;

/// Answers of one stream whose steps are carried: Google, who alone shows steps of several, gives eight at most.
pub(crate) const STEPPING_CHOICES_MAX: usize = 8;

/// Bytes of text of an answer that are kept so that another model can go on with it: some 64,000 tokens, longer than almost
/// any answer.
pub(crate) const PREFILL_MAX: usize = 256 * 1024;

/// Bytes that a model must repeat of what it was given as the beginning of its answer before that is taken for an echo,
/// where nobody knows that it repeats: shorter ones may be meant ("ha" after "ha").
pub(crate) const ECHO_MIN: usize = 64;

/// Texts of one request for embeddings: OpenAI takes 2,048.
pub(crate) const EMBEDDED_MAX: usize = 2_048;

/// Bytes of an answer that are kept because its stream ends with the whole of it once more (Responses). The longest texts
/// stay below 1 MB; the rest is for pictures.
pub(crate) const RETOLD_MAX: usize = 64 * 1024 * 1024;

/// Bytes of a form's boundary: RFC 2046 has 70.
pub(crate) const BOUNDARY_MAX: usize = 200;

/// Bytes of the headers of one part of a form.
pub(crate) const FORM_HEAD_MAX: usize = 8 * 1024;

/// Parts of a form. An edit of pictures may have sixteen files, and some ten fields.
pub(crate) const FORM_PARTS_MAX: usize = 1_024;

/// Pictures of one request. Providers stop at ten.
pub(crate) const IMAGES_MAX: u64 = 1_000;

/// Milliseconds that a recording may have which is named and not sent: a day.
pub(crate) const REFERENCED_AUDIO_MS_MAX: u64 = 24 * 3600 * 1000;

/// Losses that are noted of one request or answer: they are for people to read.
pub(crate) const LOSSES_MAX: usize = 64;

/// `max_tokens` where neither the client nor the catalog says: Anthropic's format demands a number, and every model that is
/// still served in it generates as many.
pub(crate) const MAX_TOKENS_DEFAULT: u64 = 8_192;

/// Bytes of an id by which something is named that lives elsewhere: real ones have some fifty, Gemini's URLs a hundred.
pub(crate) const ID_MAX: usize = 512;

/// Things that one request names by their ids. Each may cost a look into the database.
pub(crate) const REFERENCES_MAX: usize = 64;

/// Items of a conversation in one page of a listing, as at the provider.
pub(crate) const ITEMS_PAGE_MAX: usize = 100;
/// The same where the client does not say.
pub(crate) const ITEMS_PAGE_DEFAULT: usize = 20;
