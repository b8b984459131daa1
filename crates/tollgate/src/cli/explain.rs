//! `tollgate explain`: where a call would go, in which order, and why not elsewhere.
//!
//! Asked of the same code that decides for calls, over what is declared now. What changes with traffic (open breakers,
//! resting credentials) belongs to the running server and is not in it.

use domain::price::Rates;
use domain::snapshot::{Route, Target};
use domain::{Dialect, Operation, Snapshot, Surface, Timestamp};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use routing::{Board, Choice, Exclusion, Plan, plan};
use serde_json::{Value as Json, json};

use super::context::Context;
use super::output::{Table, word};
use crate::config::suggest::nearest;

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The model's name, as a client would send it
    #[arg(long)]
    model: String,
    /// The name of a key: may it use the model?
    #[arg(long)]
    key: Option<String>,
    /// The client's format: openai_chat, openai_responses, anthropic_messages or gemini
    #[arg(long, default_value = "openai_chat")]
    dialect: String,
    /// What is asked: chat, completions, embeddings or count_tokens
    #[arg(long, default_value = "chat")]
    operation: String,
}

impl Explain {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let surface = self.surface()?;
        let config = context.config()?;
        let store = context.store().await?;
        let snapshot = crate::serve::world::snapshot(&store, &config).await?;
        let route = snapshot.route(&self.model).ok_or_else(|| self.unknown(&snapshot))?;
        if let Some(name) = &self.key {
            let record = store.keys().get(name).await?;
            let key = snapshot.keys.get(&record.hash);
            let key =
                key.ok_or_else(|| anyhow::anyhow!("key `{name}` is set aside; `tollgate key show {name}` says more"))?;
            anyhow::ensure!(
                key.may_use(&self.model),
                "key `{name}` may not use `{}`; add it: tollgate key edit {name} --model …",
                self.model
            );
        }
        let now = Timestamp(jiff::Timestamp::now().as_microsecond());
        let plan = plan(
            &route,
            surface,
            &Board::new(),
            now,
            &mut SmallRng::from_rng(&mut rand::rng()),
        );
        context.say(&text(&route, surface, &plan), &to_json(&route, surface, &plan))
    }

    fn surface(&self) -> anyhow::Result<Surface> {
        let operation = Operation::ALL
            .into_iter()
            .find(|operation| operation.name() == self.operation);
        let dialect = Dialect::ALL.into_iter().find(|dialect| dialect.name() == self.dialect);
        let operation = operation.ok_or_else(|| anyhow::anyhow!("--operation: `{}` is not known", self.operation))?;
        let dialect = dialect.ok_or_else(|| anyhow::anyhow!("--dialect: `{}` is not known", self.dialect))?;
        Ok(Surface::new(operation, dialect))
    }

    fn unknown(&self, snapshot: &Snapshot) -> anyhow::Error {
        let names = snapshot
            .keys
            .values()
            .next()
            .map(|key| snapshot.model_names(key))
            .unwrap_or_default();
        let meant = nearest(&self.model, names)
            .map(|meant| format!("; did you mean `{meant}`?"))
            .unwrap_or_default();
        anyhow::anyhow!("no upstream serves `{}`{meant}", self.model)
    }
}

fn text(route: &Route, surface: Surface, plan: &Plan) -> String {
    let mut text = format!("{} as {surface}, strategy {}\n\n", route.model, word(route.strategy));
    let mut table = Table::new([
        "TRY",
        "UPSTREAM",
        "CREDENTIAL",
        "MODEL THERE",
        "PRIORITY",
        "WEIGHT",
        "$ PER MILLION",
    ]);
    for (index, choice) in plan.order.iter().enumerate() {
        let Some((target, credential)) = candidate(route, *choice) else {
            continue;
        };
        table.row([
            (index + 1).to_string(),
            target.upstream.name.clone(),
            credential.to_owned(),
            target.model.to_string(),
            target.priority.to_string(),
            target.weight.to_string(),
            price(route, target),
        ]);
    }
    text.push_str(&if plan.order.is_empty() {
        "nothing can be tried\n".to_owned()
    } else {
        table.render()
    });
    if !plan.excluded.is_empty() {
        let mut table = Table::new(["NOT", "CREDENTIAL", "MODEL THERE", "BECAUSE"]);
        for excluded in &plan.excluded {
            let Some((target, credential)) = candidate(route, excluded.choice) else {
                continue;
            };
            let because = because(excluded.reason, surface);
            table.row([
                target.upstream.name.clone(),
                credential.to_owned(),
                target.model.to_string(),
                because,
            ]);
        }
        text.push('\n');
        text.push_str(&table.render());
    }
    text.trim_end().to_owned()
}

fn candidate(route: &Route, choice: Choice) -> Option<(&Target, &str)> {
    let target = route.targets.get(choice.target)?;
    Some((
        target,
        target.upstream.credentials.get(choice.credential)?.name.as_str(),
    ))
}

fn because(reason: Exclusion, surface: Surface) -> String {
    match reason {
        Exclusion::Dialect => format!("dialect: it does not offer {surface}, and translation does not exist yet"),
        other => other.name().to_owned(),
    }
}

fn price(route: &Route, target: &Target) -> String {
    match route.price.as_ref().or(target.price.as_ref()) {
        Some(price) if price.ordinary.rates == Rates::default() => "free".to_owned(),
        Some(price) => format!("{} in, {} out", price.ordinary.rates.input, price.ordinary.rates.output),
        None => "not known".to_owned(),
    }
}

fn to_json(route: &Route, surface: Surface, plan: &Plan) -> Json {
    let row = |choice: Choice| -> Option<Json> {
        let (target, credential) = candidate(route, choice)?;
        Some(json!({
            "upstream": target.upstream.name, "credential": credential, "model": target.model,
            "priority": target.priority, "weight": target.weight,
        }))
    };
    let excluded: Vec<Json> = plan
        .excluded
        .iter()
        .filter_map(|excluded| {
            let mut row = row(excluded.choice)?;
            row["reason"] = json!(excluded.reason.name());
            Some(row)
        })
        .collect();
    json!({
        "model": route.model, "surface": surface.to_string(), "strategy": route.strategy,
        "order": plan.order.iter().filter_map(|choice| row(*choice)).collect::<Vec<_>>(), "excluded": excluded,
    })
}
