//! The tasks that `OpenAI`'s classic API has beside text: pictures, sounds, moderation, ranking.
//!
//! They exist in one format, so that nothing is told in another one: the request is scanned for what decides (the model,
//! whether to stream, how much is asked for), the answer for what it used. Requests may be forms with files in them
//! ([`form`]), answers may be sound or plain text. Shapes and names are those of `OpenAI`'s own SDK (`openai` 3.57,
//! `types/image*.py`, `types/audio/*.py`); rankings are Cohere's, Jina's and Voyage's, which differ in what they report.

pub(crate) mod answer;
pub(crate) mod duration;
pub(crate) mod form;
pub(crate) mod request;
pub(crate) mod sound;
pub(crate) mod usage;

pub use form::{FormField, form_boundary, form_fields};
pub use sound::SoundTap;
