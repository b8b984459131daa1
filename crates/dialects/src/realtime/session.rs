//! What is said of a session: by the server, who knows, and by the client, who asks for it.

use crate::json::{Cursor, Figure, Kind, Syntax};

use super::short;

/// The most that one response may generate, where something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputBound {
    /// As many tokens.
    Tokens(u64),
    /// As many as the model can (`inf`), or something that is no count.
    Unbounded,
}

/// What a session object says; what it leaves out stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFacts {
    /// `max_output_tokens`
    pub output_bound: Option<OutputBound>,
    /// Whether the server begins responses by itself when it hears that the speaker has ended.
    pub is_automatic: Option<bool>,
    /// The model that writes down what was spoken; `Some(None)`: nobody does.
    pub transcription: Option<Option<String>>,
    /// Whether text is brought in that the client does not send: stored prompts, tools that the server calls.
    pub by_reference: bool,
}

impl SessionFacts {
    /// Reads a session object (anything else says nothing).
    pub(super) fn read(value: &mut Cursor<'_>) -> Result<Self, Syntax> {
        let mut facts = Self::default();
        value.object_if(|key, member| facts.member(key, member))?;
        Ok(facts)
    }

    fn member(&mut self, key: &[u8], member: &mut Cursor<'_>) -> Result<(), Syntax> {
        match key {
            b"audio" => member
                .object_if(|key, inner| match key {
                    b"input" => inner.object_if(|key, input| self.input(key, input)).map(|_| ()),
                    _ => inner.skip().map(|_| ()),
                })
                .map(|_| ()),
            b"max_output_tokens" | b"max_response_output_tokens" => {
                self.output_bound = Some(output_bound(member)?);
                Ok(())
            }
            b"tools" => {
                self.by_reference |= has_server_tools(member)?;
                Ok(())
            }
            b"prompt" => {
                self.by_reference |= crate::observation::is_filled(member)?;
                Ok(())
            }
            // The beta had them at the top.
            b"turn_detection" | b"input_audio_transcription" => self.input(key, member),
            _ => member.skip().map(|_| ()),
        }
    }

    fn input(&mut self, key: &[u8], member: &mut Cursor<'_>) -> Result<(), Syntax> {
        match key {
            b"turn_detection" => self.is_automatic = Some(is_automatic(member)?),
            b"transcription" | b"input_audio_transcription" => self.transcription = Some(transcription(member)?),
            _ => {
                member.skip()?;
            }
        }
        Ok(())
    }
}

pub(super) fn output_bound(member: &mut Cursor<'_>) -> Result<OutputBound, Syntax> {
    Ok(match member.figure()? {
        Figure::Is(tokens) => OutputBound::Tokens(tokens),
        Figure::Absent | Figure::Bad => OutputBound::Unbounded,
    })
}

/// Tools other than functions are called by the server, and what they find becomes input.
pub(super) fn has_server_tools(member: &mut Cursor<'_>) -> Result<bool, Syntax> {
    let mut found = false;
    member.array_if(|tool| {
        tool.object_if(|key, value| {
            if key == b"type" {
                found |= !value.string_if()?.is_some_and(|text| text.is("function"));
                return Ok(());
            }
            value.skip().map(|_| ())
        })
        .map(|_| ())
    })?;
    Ok(found)
}

fn is_automatic(member: &mut Cursor<'_>) -> Result<bool, Syntax> {
    let mut automatic = member.kind()? == Kind::Object;
    member.object_if(|key, value| {
        let kind = value.kind()?;
        let span = value.skip()?;
        if key == b"create_response" && kind == Kind::Bool {
            automatic = value.slice(span) == b"true";
        }
        Ok::<(), Syntax>(())
    })?;
    Ok(automatic)
}

fn transcription(member: &mut Cursor<'_>) -> Result<Option<String>, Syntax> {
    let mut model = (member.kind()? == Kind::Object).then(String::new);
    member.object_if(|key, value| {
        if key == b"model" {
            model = short(value)?.or(Some(String::new()));
            return Ok(());
        }
        value.skip().map(|_| ())
    })?;
    Ok(model)
}
