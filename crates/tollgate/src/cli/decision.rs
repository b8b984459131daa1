//! A decision as text for people: before a call with what is declared, after it with the state in which it was made.

use domain::declaration::HedgeDecl;
use domain::{AttemptRecord, Forced};
use routing::Decision;
use routing::decision::{Again, Breaker, Candidate, Difference, Fate, Named, Next, Recorded, RestKind, Resting, State};

use super::output::{Table, in_line, word};

/// With what is declared, for those who ask beforehand.
pub(super) fn declared(decision: &Decision) -> String {
    let Decision {
        model,
        surface,
        strategy,
        group,
        order,
        excluded,
        last_resort,
        recovery,
        hedge,
        ..
    } = decision;
    let by_group = group
        .as_ref()
        .map_or_else(String::new, |group| format!(", by the group {group}"));
    let mut text = format!(
        "{} as {surface}, strategy {}{by_group}\n\n",
        in_line(model),
        word(strategy)
    );
    let mut table = Table::new([
        "TRY",
        "UPSTREAM",
        "CREDENTIAL",
        "MODEL THERE",
        "PRIORITY",
        "WEIGHT",
        "$ PER MILLION",
        "CONTEXT",
        "CANNOT",
    ]);
    for (index, one) in order.iter().enumerate() {
        table.row([
            (index + 1).to_string(),
            one.upstream.clone(),
            one.credential.clone(),
            model_there(one),
            one.priority.to_string(),
            one.weight.to_string(),
            price(one),
            context_window(one),
            one.cannot.join(", "),
        ]);
    }
    text.push_str(&if order.is_empty() {
        "nothing can be tried\n".to_owned()
    } else {
        table.render()
    });
    let mut closed: Vec<&str> = forced_closed(order).collect();
    closed.dedup();
    if !closed.is_empty() {
        let names = closed.join(", ");
        text.extend(["forced closed, so asked whatever they do: ", &names, "\n"]);
    }
    if *last_resort {
        text.push_str("tried although it is in trouble, because there is no other\n");
    }
    if *recovery {
        text.push_str(&goes_on(order));
    }
    text.push_str(&hedge.map(sent_twice).unwrap_or_default());
    if !excluded.is_empty() {
        text.push('\n');
        text.push_str(&set_aside(excluded, surface));
    }
    text.trim_end().to_owned()
}

/// What becomes of a stream that breaks off after the client has seen text.
fn goes_on(order: &[Candidate]) -> String {
    let can = |one: &&Candidate| one.can.iter().any(|word| word == "prefill");
    let mut places: Vec<String> = order
        .iter()
        .filter(can)
        .map(|one| format!("{}/{}", one.upstream, one.model))
        .collect();
    places.dedup();
    if places.is_empty() {
        return "recovery: on, but none of them is known to go on with a text (capability prefill)\n".to_owned();
    }
    format!(
        "recovery: a stream that breaks off is gone on with by {}\n",
        places.join(", ")
    )
}

/// What becomes of a call that takes long.
fn sent_twice(HedgeDecl { after, budget }: HedgeDecl) -> String {
    format!(
        "hedge: a call that is not streamed and takes {after} is sent to the next as well, {budget} of them at most\n"
    )
}

fn set_aside(excluded: &[Candidate], surface: &str) -> String {
    let mut table = Table::new(["NOT", "CREDENTIAL", "MODEL THERE", "BECAUSE"]);
    for one in excluded {
        table.row([
            one.upstream.clone(),
            one.credential.clone(),
            model_there(one),
            because(one, surface),
        ]);
    }
    table.render()
}

/// A fallback's targets are the only ones that belong to another model.
fn model_there(one: &Candidate) -> String {
    match &one.fallback {
        Some(fallback) => format!("{} (fallback {fallback})", one.model),
        None => one.model.clone(),
    }
}

fn forced_closed(order: &[Candidate]) -> impl Iterator<Item = &str> {
    let is_closed = |one: &&Candidate| one.forced == Some(Forced::Closed);
    order.iter().filter(is_closed).map(|one| one.upstream.as_str())
}

fn because(excluded: &Candidate, surface: &str) -> String {
    let reason = excluded.reason.as_deref().unwrap_or_default();
    match (reason, &excluded.until) {
        ("forced_open", _) => {
            "forced_open: an operator says so; `tollgate upstream edit NAME --breaker auto` ends it".to_owned()
        }
        ("dialect", _) => format!("dialect: it offers {surface} in no format that can be translated"),
        ("capability", _) => format!("capability: {}", excluded.lacks.as_deref().unwrap_or_default()),
        ("no_credential", _) => "no_credential: its provider wants a credential, and there is none".to_owned(),
        ("profile", _) => "profile: its credential is for keys of another profile".to_owned(),
        ("deactivated", _) => format!(
            "deactivated: tollgate credential edit {}/{} --activate",
            excluded.upstream, excluded.credential
        ),
        ("plan", _) => "plan: the account's plan does not have the model".to_owned(),
        ("needs_login", _) => {
            let (upstream, name) = (&excluded.upstream, &excluded.credential);
            format!("needs_login: log it in with `tollgate account login {upstream}/{name}`")
        }
        (reason, Some(until)) => format!("{reason} until {until}"),
        (reason, None) => reason.to_owned(),
    }
}

fn context_window(candidate: &Candidate) -> String {
    match candidate.context {
        0 => "not known".to_owned(),
        tokens => tokens.to_string(),
    }
}

fn price(candidate: &Candidate) -> String {
    match candidate.price {
        Some(price) if price.free => "free".to_owned(),
        Some(price) => format!("{} in, {} out", price.input, price.output),
        None => "not known".to_owned(),
    }
}

/// With what it was decided by, for those who ask afterwards.
pub(super) fn decided(decision: &Decision) -> String {
    let mut text = format!(
        "{} as {}, strategy {}, decided at {}\n\n",
        in_line(&decision.model),
        decision.surface,
        word(decision.strategy),
        decision.at
    );
    let mut table = Table::new(["TRY", "UPSTREAM", "CREDENTIAL", "MODEL THERE", "SCORE", "STATE"]);
    for (index, one) in decision.order.iter().enumerate() {
        table.row([
            (index + 1).to_string(),
            one.upstream.clone(),
            one.credential.clone(),
            model_there(one),
            score(one),
            state(&one.state),
        ]);
    }
    text.push_str(&if decision.order.is_empty() {
        "nothing could be tried\n".to_owned()
    } else {
        table.render()
    });
    if decision.last_resort {
        text.push_str("tried although it was in trouble, because there was no other\n");
    }
    if !decision.excluded.is_empty() {
        text.push('\n');
        text.push_str(&set_aside(&decision.excluded, &decision.surface));
    }
    text
}

/// What was tried.
pub(super) fn attempts(attempts: &[AttemptRecord]) -> String {
    let mut table = Table::new([
        "TRIED",
        "UPSTREAM",
        "CREDENTIAL",
        "MODEL THERE",
        "ENDED",
        "BEGAN",
        "TOOK",
    ]);
    for (index, one) in attempts.iter().enumerate() {
        let status = one.status.map(|status| status.to_string());
        let ended = [
            status,
            one.failure.map(|class| class.name().to_owned()),
            one.cancelled.then(|| "given up".to_owned()),
            one.broke
                .as_ref()
                .filter(|_| !one.cancelled)
                .map(|_| "broke off".to_owned()),
            one.hedge.then(|| "(hedge)".to_owned()),
            one.recovered.map(|how| format!("({})", how.name())),
        ];
        table.row([
            (index + 1).to_string(),
            one.upstream_name.clone(),
            one.credential_name.clone(),
            one.model.clone(),
            ended.into_iter().flatten().collect::<Vec<_>>().join(" "),
            format!("{} ms", one.started_ms),
            format!("{} ms", one.took_ms),
        ]);
    }
    table.render()
}

/// What the failures of a call lead to. The last column tells where that is not what the call did.
pub(super) fn walk(steps: &[Again]) -> String {
    let mut table = Table::new([
        "NEXT",
        "UPSTREAM",
        "CREDENTIAL",
        "MODEL THERE",
        "WAITED",
        "ENDED",
        "RECORDED",
    ]);
    for step in steps {
        let name = |of: fn(&Named) -> &String| step.at.as_ref().map_or_else(String::new, |at| of(at).clone());
        table.row([
            next(step.next).to_owned(),
            name(|at| &at.upstream),
            name(|at| &at.credential),
            name(|at| &at.model),
            format!("{} ms", step.waited_ms),
            step.came.clone().unwrap_or_else(|| "nobody knows".to_owned()),
            step.recorded.as_ref().map_or_else(String::new, recorded),
        ]);
    }
    table.render()
}

const fn next(next: Next) -> &'static str {
    match next {
        Next::First => "first",
        Next::Same => "the same again",
        Next::Sibling => "another credential",
        Next::Other => "another upstream",
        Next::Fallback => "a fallback",
        Next::Beside => "beside it",
        Next::GiveUp => "give up",
    }
}

fn recorded(recorded: &Recorded) -> String {
    match recorded {
        Recorded::Tried(Named {
            upstream, credential, ..
        }) => format!("tried {upstream}/{credential}"),
        Recorded::Hedged(Named {
            upstream, credential, ..
        }) => format!("was also sent to {upstream}/{credential}"),
        Recorded::GaveUp(status) => format!("gave up with {status}"),
        Recorded::Nothing => "was over".to_owned(),
    }
}

/// What another decision does differently.
pub(super) fn differences(differences: &[Difference]) -> String {
    let mut table = Table::new(["UPSTREAM", "CREDENTIAL", "MODEL THERE", "RECORDED", "NOW"]);
    for one in differences {
        table.row([
            one.upstream.clone(),
            one.credential.clone(),
            one.model.clone(),
            fate(&one.before),
            fate(&one.after),
        ]);
    }
    table.render()
}

fn fate(fate: &Fate) -> String {
    match fate {
        Fate::Tried(place) => format!("try {place}"),
        Fate::Excluded(reason) => format!("not: {reason}"),
        Fate::Absent => "absent".to_owned(),
    }
}

fn score(candidate: &Candidate) -> String {
    let shown = |score: f64| {
        let rounded = format!("{score:.6}");
        rounded.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let (target, key) = (candidate.score.target, candidate.score.credential);
    let both: Vec<String> = target.into_iter().chain(key).map(shown).collect();
    both.join(" / ")
}

/// What is not as usual.
fn state(state: &State) -> String {
    let mut words = Vec::new();
    if state.breaker != Breaker::Closed {
        words.push(format!("breaker {}", word(state.breaker)));
    }
    if state.open_calls > 0 {
        words.push(format!("{} open", state.open_calls));
    }
    if state.uses_today > 0 {
        words.push(format!("{} today", state.uses_today));
    }
    let rest = |what: &str, rest: Resting| {
        let why = match rest.why {
            RestKind::Named => "rests",
            RestKind::Guessed => "rests by guess",
            RestKind::OutOfCredit => "out of credit",
        };
        format!("{what}{why} until {}", rest.until)
    };
    words.extend(state.rest.map(|own| rest("", own)));
    words.extend(state.model_rest.map(|of_model| rest("model ", of_model)));
    words.extend(
        state
            .upstream_rests_until
            .map(|until| format!("upstream rests until {until}")),
    );
    words.join(", ")
}
