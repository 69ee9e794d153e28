//! `recommend`: one answer at the terminal, made by the same engine that serves.

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;
use tastemaker_recommend::{RecommendRequest, Recommendation};
use tastemaker_server::{Access, Engine};
use tastemaker_types::{AttributeType, Value, Window};

use crate::context::Context;
use crate::logging;
use crate::output::{Report, table, write_table};

/// Recommend items to a user, here and now
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Works beside a running server. A user that nobody knows gets what is popular.

Example:
  tastemaker recommend --user 42 --limit 5 --filter \"category = 'books' AND price < 20\"")]
pub(crate) struct Args {
    /// The user's id
    #[arg(long, value_name = "ID")]
    user: String,
    /// How many items [default: recommend.limit]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// A SQL condition over item attributes that every item meets
    #[arg(long, value_name = "SQL")]
    filter: Option<String>,
    /// Leave this item out; may be repeated
    #[arg(long, value_name = "ID")]
    exclude: Vec<String>,
    /// Also recommend what the user has met already
    #[arg(long)]
    include_seen: bool,
    /// Tell how the answer came about, as JSON
    #[arg(long)]
    explain: bool,
}

/// The time that one answer at the terminal may take.
const PATIENCE: Window = Window::from_millis(10_000);

#[derive(Serialize)]
struct Answer {
    user_id: String,
    #[serde(flatten)]
    answer: Recommendation,
    /// The attribute that names an item for people.
    #[serde(skip)]
    title: Option<String>,
}

impl Report for Answer {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Recommendation { items, generation, degraded, explain, .. } = &self.answer;
        if items.is_empty() {
            writeln!(out, "Nothing to recommend to {}: no item passes.", self.user_id)?;
        } else {
            let named = self.title.as_deref().unwrap_or("");
            let mut listed = table(["", "item", named, "score", "from"], [true, false, false, true, false]);
            for (place, item) in (1..).zip(items) {
                let name = self.title.as_ref().and_then(|title| item.attributes.get(title));
                listed.add_row([
                    place.to_string(),
                    item.item_id.clone(),
                    name.map(Value::to_string).unwrap_or_default(),
                    format!("{:.4}", item.score),
                    item.sources.join(", "),
                ]);
            }
            write_table(out, &listed)?;
        }
        match generation {
            Some(generation) => writeln!(out, "by generation {generation}")?,
            None => writeln!(out, "without a model: train one with `tastemaker train`")?,
        }
        if !degraded.is_empty() {
            writeln!(out, "less than whole: {}", degraded.join(", "))?;
        }
        match explain {
            Some(explanation) => writeln!(out, "{}", serde_json::to_string_pretty(explanation)?),
            None => Ok(()),
        }
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    let mut config = context.load()?.config;
    // One answer of a process that has just started is no measure of the service: let it be whole instead.
    config.recommend.budget = config.recommend.budget.max(PATIENCE);
    config.recommend.deadlines.clear();
    let config = Arc::new(config);
    logging::start_quietly(context);
    let engine = Engine::open(Arc::clone(&config), Access::ReadOnly)?;
    let request = RecommendRequest {
        user_id: args.user.clone(),
        limit: args.limit,
        filter: args.filter.clone(),
        exclude: args.exclude.clone(),
        include_seen: args.include_seen.then_some(true),
        explain: args.explain,
        ..RecommendRequest::default()
    };
    let answer = engine.recommend_here(&request)?;
    Ok(context.output.print(&Answer { user_id: args.user.clone(), answer, title: title(&config) })?)
}

/// The first text attribute of items: a title or a name.
fn title(config: &tastemaker_config::Config) -> Option<String> {
    let texts = config.items.attributes.iter().filter(|(_, kind)| **kind == AttributeType::Text);
    let mut names = texts.map(|(name, _)| name.clone());
    names.next()
}
