//! `features get`: the present values of features, read by the same engine that serves.

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::{Result, bail};
use serde::Serialize;
use tastemaker_server::{Access, Engine, FeaturesRequest, OnlineFeatures};
use tastemaker_types::{Attributes, FeatureValue, Value};

use crate::context::Context;
use crate::logging;
use crate::output::{Report, table, write_table};

/// Read features of a user, of an item, or of both together, here and now
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Works beside a running server. Without names it reads every feature that there is of what is given.

Examples:
  tastemaker features get --user 42 recent_click_count session_duration
  tastemaker features get --user 42 --item tea --service ranking --context device=phone")]
pub(crate) struct Args {
    /// The user's id
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// The item's id
    #[arg(long, value_name = "ID")]
    item: Option<String>,
    /// Features by name, as entity.name or as view:name
    #[arg(value_name = "NAME", conflicts_with = "service")]
    names: Vec<String>,
    /// Read the features of this feature service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// A request parameter; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parameter)]
    context: Vec<(String, Value)>,
}

/// A parameter is a number or a boolean if it reads as one, else a text.
fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    let value = match (value.parse(), value.parse()) {
        (Ok(bool), _) => Value::Bool(bool),
        (_, Ok(number)) => Value::Number(number),
        _ => Value::Text(value.to_owned()),
    };
    Ok((name.to_owned(), value))
}

#[derive(Serialize)]
#[serde(transparent)]
struct Values(OnlineFeatures);

impl Report for Values {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut listed = table(["feature", "value", "status", "since"], [false; 4]);
        for (name, _, cells) in self.0.columns() {
            for cell in cells {
                listed.add_row([
                    name.to_owned(),
                    cell.value.as_ref().map_or_else(|| "–".to_owned(), shown),
                    cell.status.name().to_owned(),
                    cell.event_time.map(|time| time.to_string()).unwrap_or_default(),
                ]);
            }
        }
        write_table(out, &listed)
    }
}

/// A value for people: of a vector its beginning.
fn shown(value: &FeatureValue) -> String {
    const SHOWN: usize = 4;
    match value {
        FeatureValue::Number(number) => number.to_string(),
        FeatureValue::Text(text) => text.clone(),
        FeatureValue::Bool(bool) => bool.to_string(),
        FeatureValue::Time(time) => time.to_string(),
        FeatureValue::Texts(texts) => texts.join(", "),
        FeatureValue::Vector(vector) => {
            let first: Vec<String> = vector.iter().take(SHOWN).map(|number| format!("{number:.4}")).collect();
            let more = if vector.len() > SHOWN { ", …" } else { "" };
            format!("[{}{more}] ({})", first.join(", "), vector.len())
        }
        FeatureValue::Map(map) => {
            let pairs: Vec<String> = map.iter().map(|(name, number)| format!("{name}: {number}")).collect();
            pairs.join(", ")
        }
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    if args.user.is_none() && args.item.is_none() {
        bail!("say whose features: --user ID, --item ID, or both");
    }
    let config = Arc::new(context.load()?.config);
    logging::start_quietly(context);
    let engine = Engine::open(config, Access::ReadOnly)?;
    let mut names = args.names.clone();
    if names.is_empty() && args.service.is_none() {
        let given = |entity: &str| match entity {
            "user" => args.user.is_some(),
            "item" => args.item.is_some(),
            _ => args.user.is_some() && args.item.is_some(),
        };
        let all = engine.features().features;
        names = all.iter().filter(|f| given(&f.entity)).map(|f| format!("{}.{}", f.entity, f.name)).collect();
    }
    let values = engine.online_features(FeaturesRequest {
        users: args.user.iter().cloned().collect(),
        items: args.item.iter().cloned().collect(),
        features: names,
        service: args.service.clone(),
        context: args.context.iter().cloned().collect::<Attributes>(),
        ..FeaturesRequest::default()
    })?;
    Ok(context.output.print(&Values(values))?)
}
