//! Which behaviour a call meets: rules first, then the queue of coming calls, then the default.
//!
//! Everything here is data with a JSON form, because tests in Python and Node send the same scripts over HTTP.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::asked::Operation;
use super::behaviour::Behaviour;
use super::received::Received;

/// The calls that a rule is for. What is not set matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// How the path ends, without the query.
    pub path: Option<String>,
    /// The model asked for, exactly.
    pub model: Option<String>,
    /// The credential seen, exactly.
    pub credential: Option<String>,
    /// Text that the request's body contains.
    pub body: Option<String>,
}

impl Match {
    /// Every call.
    pub fn any() -> Self {
        Self::default()
    }

    /// Calls whose path ends so.
    pub fn path(path: &str) -> Self {
        Self {
            path: Some(path.to_owned()),
            ..Self::default()
        }
    }

    /// Calls for this model.
    pub fn model(model: &str) -> Self {
        Self {
            model: Some(model.to_owned()),
            ..Self::default()
        }
    }

    /// Calls with this credential.
    pub fn credential(credential: &str) -> Self {
        Self {
            credential: Some(credential.to_owned()),
            ..Self::default()
        }
    }

    /// Calls whose body contains this.
    pub fn body(text: &str) -> Self {
        Self {
            body: Some(text.to_owned()),
            ..Self::default()
        }
    }

    /// And with this model.
    pub fn and_model(mut self, model: &str) -> Self {
        self.model = Some(model.to_owned());
        self
    }

    /// And with this credential.
    pub fn and_credential(mut self, credential: &str) -> Self {
        self.credential = Some(credential.to_owned());
        self
    }

    fn fits(&self, call: &Received) -> bool {
        let same = |wanted: &Option<String>, is: Option<&str>| wanted.as_deref().is_none_or(|w| Some(w) == is);
        self.path.as_deref().is_none_or(|end| call.path().ends_with(end))
            && same(&self.model, call.model.as_deref())
            && same(&self.credential, call.credential.as_deref())
            && self
                .body
                .as_deref()
                .is_none_or(|text| memchr::memmem::find(&call.body, text.as_bytes()).is_some())
    }
}

/// Behaviours for the calls that fit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Which calls.
    #[serde(rename = "match")]
    pub calls: Match,
    /// For the coming ones, each used once.
    pub queue: VecDeque<Arc<Behaviour>>,
    /// For those after them; `None` leaves them to later rules.
    pub default: Option<Arc<Behaviour>>,
}

/// All that an upstream is told to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Tried in order; the first that fits and has something to say decides.
    pub rules: Vec<Rule>,
    /// For coming calls that no rule took, each used once. Listing models takes nothing from here, so that health
    /// checks and discovery do not eat what was meant for a call.
    pub queue: VecDeque<Arc<Behaviour>>,
    /// For all others.
    pub default: Arc<Behaviour>,
}

impl Script {
    pub(crate) fn rule(&mut self, calls: Match) -> &mut Rule {
        if let Some(at) = self.rules.iter().position(|rule| rule.calls == calls) {
            return &mut self.rules[at];
        }
        self.rules.push(Rule {
            calls,
            ..Rule::default()
        });
        self.rules.last_mut().expect("one was just pushed")
    }

    pub(crate) fn pick(&mut self, call: &Received, operation: Operation) -> Arc<Behaviour> {
        for rule in self.rules.iter_mut().filter(|rule| rule.calls.fits(call)) {
            if let Some(behaviour) = rule.queue.pop_front().or_else(|| rule.default.clone()) {
                return behaviour;
            }
        }
        let queue = !matches!(operation, Operation::Models | Operation::Model);
        let next = if queue { self.queue.pop_front() } else { None };
        next.unwrap_or_else(|| self.default.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::asked::Asked;
    use super::super::behaviour::{Chunking, Reply};
    use super::super::request::Request;
    use super::*;

    fn call(target: &str, key: &str, body: &str) -> Received {
        let request = Request::of("POST", target, &[("Authorization", &format!("Bearer {key}"))], body);
        let asked = Asked::read(&request);
        Received::new(1, 1, Duration::ZERO, request, &asked)
    }

    fn status(behaviour: &Behaviour) -> u16 {
        match &behaviour.reply {
            Reply::Refusal(refusal) => refusal.status,
            _ => 200,
        }
    }

    #[test]
    fn rules_then_queue_then_default() {
        let mut script = Script {
            default: Arc::new(Behaviour::status(500)),
            ..Script::default()
        };
        script.queue.push_back(Arc::new(Behaviour::status(429)));
        script
            .rule(Match::credential("k1"))
            .queue
            .push_back(Arc::new(Behaviour::status(401)));
        script.rule(Match::model("m").and_credential("k2")).default = Some(Arc::new(Behaviour::status(403)));
        let mut pick = |key: &str, operation| {
            let call = call("/v1/chat/completions", key, r#"{"model":"m"}"#);
            status(&script.pick(&call, operation))
        };
        assert_eq!(pick("k3", Operation::Models), 500);
        assert_eq!(pick("k1", Operation::Chat), 401);
        assert_eq!(pick("k2", Operation::Chat), 403);
        assert_eq!(pick("k1", Operation::Chat), 429);
        assert_eq!(pick("k1", Operation::Chat), 500);
        assert_eq!(pick("k2", Operation::Chat), 403);
    }

    #[test]
    fn scripts_have_a_json_form() {
        let script: Script = serde_json::from_str(
            r#"{"queue": [{"reply": {"refusal": {"status": 429, "headers": [["retry-after", "2"]]}}},
                          {"cut": {"at": {"events": 2}, "how": "reset"}, "between_chunks_ms": 2.5},
                          {"head": {"trickle": 1}}, {"reply": {"raw": {"status": 200, "body": {"b64": "aGk="}}}}],
                "rules": [{"match": {"path": "/messages"}, "default": {"edits": [{"malform": 1}]}}],
                "default": {"reply": {"answer": {"pieces": ["a"], "usage": {"input": 3}}}, "chunking": {"size": 7}}}"#,
        )
        .unwrap();
        assert_eq!(script.queue.len(), 4);
        assert_eq!(script.queue[1].between_chunks, Duration::from_micros(2500));
        assert_eq!(script.default.chunking, Chunking::Size(7));
        assert!(serde_json::from_str::<Script>(r#"{"queues": []}"#).is_err());
        let text = serde_json::to_string(&script).unwrap();
        assert_eq!(serde_json::from_str::<Script>(&text).unwrap().rules.len(), 1);
    }
}
